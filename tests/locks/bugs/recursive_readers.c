/* source: https://github.com/circonus-labs/libmtev/pull/670
 * hang: deadlock, repaired: nothing
 * A function and its caller both take the read lock of a configuration,
 * while a writer waits. The fix counts how often each thread holds the lock. */
#define _GNU_SOURCE
#include "bugs.h"
static pthread_rwlock_t configuration;
static _Thread_local int depth;
static atomic_int is_read, wants;
static void begin(void) {
    if (!repaired || depth++ == 0) pthread_rwlock_rdlock(&configuration);
}
static void end(void) {
    if (!repaired || --depth == 0) pthread_rwlock_unlock(&configuration);
}
THREAD(looks_up) {
    begin();
    atomic_store(&is_read, 1);
    while (!atomic_load(&wants)) usleep(200);
    usleep(100000);
    begin(); end(); end();
    return unused;
}
THREAD(reloads) {
    while (!atomic_load(&is_read)) usleep(200);
    atomic_store(&wants, 1);
    pthread_rwlock_wrlock(&configuration); pthread_rwlock_unlock(&configuration);
    return unused;
}
int main(int argc, char **argv) {
    void *(*bodies[])(void *) = {looks_up, reloads};
    pthread_rwlockattr_t attributes;
    set_form(argc, argv);
    hangs = 1; /* Both at once, in either form. */
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&configuration, &attributes);
    run(2, bodies);
    return 0;
}
