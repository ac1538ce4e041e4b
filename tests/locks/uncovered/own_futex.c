/* A lock that is made of an atomic and futex(2), beside a mutex; a thread has to wait for it. */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int word = 1; /* 0 free, 1 taken, 2 taken and waited for. */
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;

static void *take(void *unused) {
    while (atomic_exchange(&word, 2) != 0) syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 2, 0, 0, 0);
    return unused;
}

int main(void) {
    pthread_t other;
    pthread_mutex_lock(&table);
    pthread_mutex_unlock(&table);
    pthread_create(&other, NULL, take, NULL);
    while (atomic_load(&word) != 2) usleep(1000);
    atomic_store(&word, 0);
    while (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) < 0) {}
    pthread_join(other, NULL);
    return 0;
}
