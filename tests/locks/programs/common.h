/* What the programs of this folder share. Each tells in its first line what is to be found. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MUTEX __attribute__((unused)) static pthread_mutex_t
MUTEX a = PTHREAD_MUTEX_INITIALIZER;
MUTEX b = PTHREAD_MUTEX_INITIALIZER;
MUTEX c = PTHREAD_MUTEX_INITIALIZER;

static void both(pthread_mutex_t *first, pthread_mutex_t *second) {
    pthread_mutex_lock(first);
    pthread_mutex_lock(second);
    pthread_mutex_unlock(second);
    pthread_mutex_unlock(first);
}

__attribute__((unused)) static void *a_then_b(void *unused) { both(&a, &b); return unused; }
__attribute__((unused)) static void *b_then_a(void *unused) { both(&b, &a); return unused; }

/* Threads that live at the same time, but do their work one after the other. The turn is no lock:
 * nothing that is watched orders them. */
static pthread_barrier_t together;
static atomic_int turn;
struct job { void *(*body)(void *); int number; };
static void *job(void *given) {
    struct job *job = given;
    pthread_barrier_wait(&together);
    while (atomic_load(&turn) != job->number) usleep(200);
    void *result = job->body(NULL);
    atomic_fetch_add(&turn, 1);
    return result;
}
__attribute__((unused)) static void run(int count, void *(*bodies[])(void *)) {
    pthread_t threads[32];
    struct job jobs[32];
    pthread_barrier_init(&together, NULL, count);
    atomic_store(&turn, 0);
    for (int i = 0; i < count; i++) {
        jobs[i] = (struct job){bodies[i], i};
        pthread_create(&threads[i], NULL, job, &jobs[i]);
    }
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}
