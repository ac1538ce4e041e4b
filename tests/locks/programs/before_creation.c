/* expect: nothing
 * The main thread takes its locks before it creates the other thread. */
#include "common.h"

int main(void) {
    pthread_t thread;
    both(&a, &b);
    pthread_create(&thread, NULL, b_then_a, NULL);
    pthread_join(thread, NULL);
    return 0;
}
