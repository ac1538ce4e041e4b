/* source: https://github.com/jubatus/jubatus_core/pull/200
 * hang: deadlock, repaired: nothing
 * A thread takes a read lock twice, and a writer waits in between. The lock prefers writers. */
#define _GNU_SOURCE
#include "bugs.h"
static pthread_rwlock_t storage;
static atomic_int is_read, wants;
static void find(void) { pthread_rwlock_rdlock(&storage); pthread_rwlock_unlock(&storage); }
THREAD(reads) {
    pthread_rwlock_rdlock(&storage);
    atomic_store(&is_read, 1);
    while (!atomic_load(&wants)) usleep(200);
    usleep(100000);
    if (repaired) pthread_rwlock_unlock(&storage);
    find();
    if (!repaired) pthread_rwlock_unlock(&storage);
    return unused;
}
THREAD(writes) {
    while (!atomic_load(&is_read)) usleep(200);
    atomic_store(&wants, 1);
    pthread_rwlock_wrlock(&storage); pthread_rwlock_unlock(&storage);
    return unused;
}
int main(int argc, char **argv) {
    void *(*bodies[])(void *) = {reads, writes};
    pthread_rwlockattr_t attributes;
    set_form(argc, argv);
    hangs = 1; /* Both at once, in either form. */
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&storage, &attributes);
    run(2, bodies);
    return 0;
}
