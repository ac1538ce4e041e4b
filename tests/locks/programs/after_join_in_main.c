/* expect: nothing
 * The thread is joined before the one that made it goes on. */
#include "common.h"

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, a_then_b, NULL);
    pthread_join(thread, NULL);
    both(&b, &a);
    return 0;
}
