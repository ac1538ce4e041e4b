/* A mutex in memory that two processes share; with an argument it says so, as it has to. */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words) {
    (void)words;
    void *memory = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutex_t *mutex = memory;
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (count > 1) pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(mutex, &attributes);
    pid_t child = fork();
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
    if (child == 0) return 0;
    waitpid(child, 0, 0);
    return 0;
}
