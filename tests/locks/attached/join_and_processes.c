/* Two deadlocks that are no circle of mutexes of a process: with "join" a thread joins one that
 * wants what it holds; else two processes take two mutexes, which they share, in two orders. */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

struct shared { pthread_mutex_t locks[2]; pthread_barrier_t both; };
static struct shared *shared;
static void *wants(void *unused) { pthread_mutex_lock(&shared->locks[0]); return unused; }

int main(int count, char **words) {
    pthread_mutexattr_t attributes;
    pthread_barrierattr_t of_barrier;
    (void)words;
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrierattr_init(&of_barrier);
    pthread_barrierattr_setpshared(&of_barrier, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->both, &of_barrier, 2);
    for (int i = 0; i < 2; i++) pthread_mutex_init(&shared->locks[i], &attributes);
    if (count > 1) {
        pthread_t thread;
        pthread_mutex_lock(&shared->locks[0]);
        pthread_create(&thread, NULL, wants, NULL);
        pthread_join(thread, NULL);
    } else {
        int me = fork() == 0;
        pthread_mutex_lock(&shared->locks[me]);
        pthread_barrier_wait(&shared->both);
        pthread_mutex_lock(&shared->locks[!me]);
    }
    return 0;
}
