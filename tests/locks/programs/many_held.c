/* expect: inversion
 * A thread holds thousands of locks at the same time. The orders of earlier locks are still
 * seen. */
#include "common.h"

#define COUNT 10000

static void *holds_many(void *unused) {
    pthread_mutex_t *many = malloc(COUNT * sizeof *many);
    pthread_mutex_lock(&a);
    pthread_mutex_lock(&b);
    for (int i = 0; i < COUNT; i++) {
        pthread_mutex_init(&many[i], NULL);
        pthread_mutex_lock(&many[i]);
    }
    for (int i = COUNT - 1; i >= 0; i--) pthread_mutex_unlock(&many[i]);
    pthread_mutex_unlock(&b);
    pthread_mutex_unlock(&a);
    return unused;
}

int main(void) {
    run(2, (void *(*[])(void *)){holds_many, b_then_a});
    return 0;
}
