/* expect: misuse
 * A mutex is destroyed by the thread that holds it. */
#include "common.h"

int main(void) {
    pthread_mutex_lock(&a);
    pthread_mutex_destroy(&a);
    return 0;
}
