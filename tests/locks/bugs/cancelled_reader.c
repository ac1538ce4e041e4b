/* source: https://github.com/volkszaehler/vzlogger/issues/122
 * order: misuse, hang: deadlock, repaired: nothing
 * A thread is cancelled while it holds a mutex, and the next thread waits for the mutex forever. */
#include "bugs.h"
MUTEX(session);
static atomic_int is_in;
static void unlock_session(void *unused) { (void)unused; UNLOCK(session); }
THREAD(reads) {
    LOCK(session);
    atomic_store(&is_in, 1);
    if (repaired) {
        pthread_cleanup_push(unlock_session, NULL);
        sleep(30);
        pthread_cleanup_pop(1);
        return unused;
    }
    sleep(30);
    UNLOCK(session);
    return unused;
}
int main(int argc, char **argv) {
    pthread_t thread;
    set_form(argc, argv);
    pthread_create(&thread, NULL, reads, NULL);
    while (!atomic_load(&is_in)) usleep(200);
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    if (hangs || repaired) { LOCK(session); UNLOCK(session); }
    return 0;
}
