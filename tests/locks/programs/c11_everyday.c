/* expect: nothing
 * Ordinary uses of C11 threads: recursive mutexes, trylock, a condition, a join, call_once. */
#include <stdlib.h>
#include <threads.h>

static mtx_t a, b, guard, again;
static cnd_t condition;
static once_flag flag = ONCE_FLAG_INIT;
static int items;

static void makes(void) {
    mtx_init(&a, mtx_plain);
    mtx_init(&b, mtx_timed);
    mtx_init(&guard, mtx_plain);
    mtx_init(&again, mtx_recursive);
    cnd_init(&condition);
}

static int puts_in(void *given) {
    call_once(&flag, makes);
    mtx_lock(&a);
    mtx_lock(&b);
    mtx_unlock(&b);
    mtx_unlock(&a);
    for (int i = 0; i < 100; i++) {
        mtx_lock(&guard);
        items++;
        cnd_signal(&condition);
        mtx_unlock(&guard);
    }
    return given != NULL;
}

static int takes(void *given) {
    call_once(&flag, makes);
    for (int i = 0; i < 100; i++) {
        mtx_lock(&guard);
        while (items == 0) cnd_wait(&condition, &guard);
        items--;
        mtx_unlock(&guard);
    }
    mtx_lock(&again);
    mtx_lock(&again);
    mtx_unlock(&again);
    mtx_unlock(&again);
    return given != NULL;
}

int main(void) {
    thrd_t threads[2];
    int ended = 0;
    call_once(&flag, makes);
    thrd_create(&threads[0], puts_in, &items);
    thrd_create(&threads[1], takes, &items);
    for (int i = 0; i < 2; i++) {
        if (thrd_join(threads[i], &ended) != thrd_success || ended != 1) abort();
    }
    /* The other order, after the threads' ends. */
    mtx_lock(&b);
    if (mtx_trylock(&b) != thrd_busy) abort();
    mtx_lock(&a);
    mtx_unlock(&a);
    mtx_unlock(&b);
    mtx_destroy(&a);
    return 0;
}
