/* source: https://github.com/realm/realm-core/issues/3269
 * order: inversion, hang: deadlock, repaired: nothing
 * A write transaction takes the robust mutex of the database in shared memory. A client's lock
 * is taken before it in one place, and after it in another. */
#include "bugs.h"
#include <sys/mman.h>
static pthread_mutex_t *write_lock;
MUTEX(client);
THREAD(writes) {
    LOCK(*write_lock); meet();
    if (repaired) UNLOCK(*write_lock);
    LOCK(client); UNLOCK(client);
    if (!repaired) UNLOCK(*write_lock);
    return unused;
}
THREAD(syncs) { LOCK(client); meet(); LOCK(*write_lock); UNLOCK(*write_lock); UNLOCK(client); return unused; }
int main(int argc, char **argv) {
    void *(*bodies[])(void *) = {writes, syncs};
    pthread_mutexattr_t attributes;
    set_form(argc, argv);
    write_lock = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(write_lock, &attributes);
    run(2, bodies);
    return 0;
}
