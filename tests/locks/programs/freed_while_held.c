/* expect: misuse
 * A thread frees memory with a mutex that it holds. The next mutex there is another one, which it
 * does not hold: its orders are no inversion. */
#include "common.h"

struct object { pthread_mutex_t lock; };
static struct object *object;

static void make(void) {
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    object = malloc(sizeof *object);
    object->lock = fresh;
}
static void *first(void *unused) {
    make();
    struct object *before = object;
    pthread_mutex_lock(&before->lock);
    free(before);
    make();
    if (object != before) exit(2);
    both(&object->lock, &c);
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
    return unused;
}
static void *second(void *unused) { both(&a, &object->lock); return unused; }
int main(void) {
    run(2, (void *(*[])(void *)){first, second});
    return 0;
}
