/* expect: nothing
 * One order is over before the thread of the other is created. */
#include "common.h"

int main(void) {
    pthread_t thread;
    both(&a, &b);
    pthread_create(&thread, NULL, b_then_a, NULL);
    pthread_join(thread, NULL);
    return 0;
}
