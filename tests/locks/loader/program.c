/* A library's constructor wants a mutex of the program's. `program LIBRARY WHAT`:
 *
 * healthy: who holds the mutex uses a lock for the first time, and lets go;
 * order: who holds the mutex asks the loader for a symbol, at another time;
 * close: the same with the destructor and an address;
 * hang: the same at the same time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_int is_held, is_loading;
static const char *library, *what;

static int is(const char *word) { return strcmp(what, word) == 0; }

static void lock_and_unlock(void) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}

void in_constructor(void) {
    atomic_store(&is_loading, 1);
    while (!atomic_load(&is_held)) usleep(200);
    if (!is("close")) lock_and_unlock();
}

void in_destructor(void) {
    if (is("close")) lock_and_unlock();
}

static int meets(void) { return is("healthy") || is("hang"); }

static void *loads(void *unused) {
    while (!meets() && !atomic_load(&is_held)) usleep(200);
    void *handle = dlopen(library, RTLD_NOW);
    if (handle == NULL) _exit(99);
    dlclose(handle);
    return unused;
}

static void use_new_locks(void) {
    static pthread_rwlock_t read_write = PTHREAD_RWLOCK_INITIALIZER;
    static pthread_spinlock_t spin;
    static sem_t semaphore;
    pthread_rwlock_rdlock(&read_write);
    pthread_rwlock_unlock(&read_write);
    pthread_spin_init(&spin, 0);
    pthread_spin_lock(&spin);
    pthread_spin_unlock(&spin);
    sem_init(&semaphore, 0, 1);
    sem_wait(&semaphore);
    sem_post(&semaphore);
}

static void *holds(void *unused) {
    while (meets() && !atomic_load(&is_loading)) usleep(200);
    pthread_mutex_lock(&mutex);
    if (meets()) atomic_store(&is_held, 1);
    if (meets()) usleep(50000);
    if (is("healthy")) use_new_locks();
    Dl_info info;
    if (is("close") && dladdr(&mutex, &info) == 0) _exit(98);
    if ((is("order") || is("hang")) && dlsym(RTLD_DEFAULT, "puts") == NULL) _exit(97);
    pthread_mutex_unlock(&mutex);
    atomic_store(&is_held, 1);
    return unused;
}

int main(int count, char **words) {
    if (count != 3) return 96;
    library = words[1];
    what = words[2];
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, loads, NULL);
    pthread_create(&threads[1], NULL, holds, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
