/* expect: inversion
 * Two C11 threads take two C11 mutexes in both orders. */
#include <stdatomic.h>
#include <threads.h>

static mtx_t a, b;
static atomic_int turn;

static int takes(mtx_t *first, mtx_t *second, int number) {
    while (atomic_load(&turn) != number) thrd_yield();
    mtx_lock(first);
    mtx_lock(second);
    mtx_unlock(second);
    mtx_unlock(first);
    atomic_fetch_add(&turn, 1);
    return 0;
}
static int forth(void *unused) { return takes(&a, &b, unused != NULL); }
static int back(void *unused) { return takes(&b, &a, 1 + (unused != NULL)); }

int main(void) {
    thrd_t threads[2];
    mtx_init(&a, mtx_plain);
    mtx_init(&b, mtx_plain);
    thrd_create(&threads[0], forth, NULL);
    thrd_create(&threads[1], back, NULL);
    for (int i = 0; i < 2; i++) thrd_join(threads[i], NULL);
    return 0;
}
