/* A library of mutexes for the mixed_*.py programs, which load it with ctypes. */
#include <pthread.h>
#include <unistd.h>

static pthread_mutex_t mutexes[64] = {[0 ... 63] = PTHREAD_MUTEX_INITIALIZER};

void take(int which) { pthread_mutex_lock(&mutexes[which]); }
void release(int which) { pthread_mutex_unlock(&mutexes[which]); }

void take_both(int first, int second) {
    take(first);
    take(second);
    release(second);
    release(first);
}

/* Calls back while it holds a mutex, as libraries with callbacks do. */
void call_holding(int which, void (*callback)(void)) {
    take(which);
    callback();
    release(which);
}

/* Calls back twice while it holds the mutex, with time for others in between. */
void call_slowly(int which, void (*callback)(void), void (*again)(void)) {
    take(which);
    callback();
    usleep(100 * 1000);
    again();
    release(which);
}

/* A thread that Python does not know calls back. */
struct call { void (*callback)(void); };
static void *body(void *given) {
    ((struct call *)given)->callback();
    return NULL;
}
void call_on_a_thread(void (*callback)(void)) {
    struct call call = {callback};
    pthread_t thread;
    pthread_create(&thread, NULL, body, &call);
    pthread_join(thread, NULL);
}
