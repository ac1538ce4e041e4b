/* expect: nothing
 * The main thread joins the first thread before it creates the second one. */
#include "common.h"

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, a_then_b, NULL);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, b_then_a, NULL);
    pthread_join(thread, NULL);
    return 0;
}
