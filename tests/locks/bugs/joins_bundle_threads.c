/* source: https://github.com/CppMicroServices/CppMicroServices/issues/210
 * hang: deadlock, repaired: nothing
 * Threads are joined while the lock of their list is held, which each takes before it ends. */
#include "bugs.h"
MUTEX(threads_lock);
static pthread_t workers[3];
static atomic_int is_stopping;
THREAD(works) {
    while (!atomic_load(&is_stopping)) usleep(200);
    LOCK(threads_lock); UNLOCK(threads_lock);
    return unused;
}
int main(int argc, char **argv) {
    set_form(argc, argv);
    for (int i = 0; i < 3; i++) pthread_create(&workers[i], NULL, works, NULL);
    LOCK(threads_lock);
    atomic_store(&is_stopping, 1);
    if (repaired) UNLOCK(threads_lock);
    for (int i = 0; i < 3; i++) pthread_join(workers[i], NULL);
    if (!repaired) UNLOCK(threads_lock);
    return 0;
}
