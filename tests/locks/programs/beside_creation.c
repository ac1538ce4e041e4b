/* expect: inversion
 * The main thread takes its locks while the thread that it has created runs. */
#include "common.h"

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, a_then_b, NULL);
    usleep(50000);
    both(&b, &a);
    pthread_join(thread, NULL);
    return 0;
}
