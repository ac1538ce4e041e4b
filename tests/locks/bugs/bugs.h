/* What the programs of this folder share. Each has the structure of a bug that was reported in
 * public, in code of its own, and is run in one of three forms, its argument: `order`, in which the
 * threads do one after the other what can deadlock; `hang`, in which they do it at once, so that the
 * program stands still; `repaired`, as it was or could be mended. */
#include <pthread.h>
#ifdef __cplusplus
#include <atomic>
using std::atomic_fetch_add, std::atomic_int, std::atomic_load, std::atomic_store;
#else
#include <stdatomic.h>
#endif
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUTEX(name) static pthread_mutex_t name = PTHREAD_MUTEX_INITIALIZER
#define LOCK(name) pthread_mutex_lock(&(name))
#define UNLOCK(name) pthread_mutex_unlock(&(name))
#define THREAD(name) static void *name(void *unused)

static int hangs, repaired;
static int parties;
static atomic_int met, turn;

/* In the form that hangs, what everybody does once it has its first lock: wait for the others. */
__attribute__((unused)) static void meet(void) {
    if (!hangs) return;
    atomic_fetch_add(&met, 1);
    while (atomic_load(&met) < parties) usleep(200);
}

struct job { void *(*body)(void *); int number; };

/* The turn is no lock: nothing that is watched orders the threads. */
__attribute__((unused)) static void *do_job(void *given) {
    struct job *mine = (struct job *)given;
    while (!hangs && atomic_load(&turn) != mine->number) usleep(200);
    mine->body(NULL);
    atomic_fetch_add(&turn, 1);
    return NULL;
}

__attribute__((unused)) static void set_form(int argc, char **argv) {
    const char *form = argc > 1 ? argv[1] : "";
    hangs = !strcmp(form, "hang");
    repaired = !strcmp(form, "repaired");
    if (!hangs && !repaired && strcmp(form, "order")) exit(2);
}

__attribute__((unused)) static void run(int count, void *(*bodies[])(void *)) {
    pthread_t threads[16];
    struct job jobs[16];
    parties = count;
    for (int i = 0; i < count; i++) {
        jobs[i].body = bodies[i];
        jobs[i].number = i;
        pthread_create(&threads[i], NULL, do_job, &jobs[i]);
    }
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

#define PROGRAM(...)                                          \
    int main(int argc, char **argv) {                         \
        void *(*bodies[])(void *) = {__VA_ARGS__};            \
        set_form(argc, argv);                                 \
        run(sizeof bodies / sizeof *bodies, bodies);          \
        return 0;                                             \
    }
