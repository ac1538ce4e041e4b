/* Many threads meet the same new mutexes at the same moment, each in an order of its own; then all
 * are made again at their addresses. Arguments: threads, mutexes, rounds, the bytes between two. */
#include <pthread.h>
#include <stdlib.h>

static int threads, count, rounds, stride;
static char *memory;
static pthread_barrier_t together;

static pthread_mutex_t *mutex(int number) {
    return (pthread_mutex_t *)(memory + (size_t)number * stride);
}

static void *meets(void *given) {
    int own = (int)(long)given;
    for (int round = 0; round < rounds; round++) {
        pthread_barrier_wait(&together);
        for (int i = 0; i < count; i++) {
            int which = (int)(((long)i * (2 * own + 1) + own) % count);
            pthread_mutex_lock(mutex(which));
            pthread_mutex_unlock(mutex(which));
        }
        pthread_barrier_wait(&together);
        if (own == 0)
            for (int i = 0; i < count; i++) {
                pthread_mutex_destroy(mutex(i));
                pthread_mutex_init(mutex(i), NULL);
            }
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t made[64];
    if (argc != 5) return 2;
    threads = atoi(argv[1]), count = atoi(argv[2]), rounds = atoi(argv[3]), stride = atoi(argv[4]);
    memory = calloc(count, stride);
    for (int i = 0; i < count; i++) *mutex(i) = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    pthread_barrier_init(&together, NULL, threads);
    for (long i = 0; i < threads; i++) pthread_create(&made[i], NULL, meets, (void *)i);
    for (int i = 0; i < threads; i++) pthread_join(made[i], NULL);
    return 0;
}
