/* expect: nothing
 * The main thread joins the other thread before it takes the locks itself. */
#include "common.h"

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, a_then_b, NULL);
    pthread_join(thread, NULL);
    both(&b, &a);
    return 0;
}
