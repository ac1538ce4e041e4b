/* expect: inversion with --repeat 20 --perturb --seed 1
 * The second order is taken only if the threads run in an unusual order, which random delays
 * cause. */
#include "common.h"

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static int state;

static void set(int value) {
    pthread_mutex_lock(&guard);
    state = value;
    pthread_mutex_unlock(&guard);
}
static int get(void) {
    pthread_mutex_lock(&guard);
    int value = state;
    pthread_mutex_unlock(&guard);
    return value;
}
static void *flickers(void *unused) {
    both(&a, &b);
    usleep(3000);
    for (int i = 0; i < 20; i++) {
        set(1);
        set(0);
        usleep(300);
    }
    return unused;
}
static void *looks(void *unused) {
    for (int i = 0; i < 20; i++) {
        usleep(300);
        if (get() == 1) both(&b, &a);
    }
    return unused;
}
int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, flickers, NULL);
    pthread_create(&threads[1], NULL, looks, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
