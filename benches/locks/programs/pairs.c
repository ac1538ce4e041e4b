/* Nanoseconds of CPU time that taking and releasing locks costs which nobody else wants.
 *
 *     pairs COUNT CASE...
 *
 * A line for each case: its name, and the nanoseconds of one turn. A turn of `nested` takes three
 * locks, all others one. Measured in a thread of its own, because the C library spares a process
 * of one thread the atomic operations. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCKS = 7 };

static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t b = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t c = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spin;
static long count;
static int cases;
static char **names;

static void single(void) {
    pthread_mutex_lock(&a);
    pthread_mutex_unlock(&a);
}
static void nested(void) {
    pthread_mutex_lock(&a);
    pthread_mutex_lock(&b);
    pthread_mutex_lock(&c);
    pthread_mutex_unlock(&c);
    pthread_mutex_unlock(&b);
    pthread_mutex_unlock(&a);
}
static void reading(void) {
    pthread_rwlock_rdlock(&shared);
    pthread_rwlock_unlock(&shared);
}
static void writing(void) {
    pthread_rwlock_wrlock(&shared);
    pthread_rwlock_unlock(&shared);
}
static void spinning(void) {
    pthread_spin_lock(&spin);
    pthread_spin_unlock(&spin);
}

static const struct { const char *name; void (*turn)(void); } turns[] = {
    {"single", single},   {"nested", nested}, {"reading", reading},
    {"writing", writing}, {"spin", spinning},
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int smaller(const void *left, const void *right) {
    double one = *(const double *)left, other = *(const double *)right;
    return (one > other) - (one < other);
}

static double median_of_blocks(void (*turn)(void)) {
    double spent[BLOCKS];
    for (long i = 0; i < count / 10 + 1; i++) turn();
    for (int block = 0; block < BLOCKS; block++) {
        double began = now();
        for (long i = 0; i < count; i++) turn();
        spent[block] = (now() - began) / (double)count;
    }
    qsort(spent, BLOCKS, sizeof *spent, smaller);
    return spent[BLOCKS / 2];
}

static void *measure(void *unused) {
    for (int i = 0; i < cases; i++)
        for (size_t j = 0; j < sizeof turns / sizeof *turns; j++)
            if (!strcmp(names[i], turns[j].name))
                printf("%s %.3f\n", names[i], median_of_blocks(turns[j].turn));
    return unused;
}

int main(int arguments, char **words) {
    pthread_t thread;
    count = arguments > 1 ? atol(words[1]) : 0;
    if (count < 1) return 2;
    cases = arguments - 2;
    names = words + 2;
    pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE);
    pthread_create(&thread, NULL, measure, NULL);
    pthread_join(thread, NULL);
    return 0;
}
