/* A library is unloaded, and another one comes to its address, as does its mutex; threads take the
 * mutexes of the two and the program's in different orders. Arguments: the libraries. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t *own;
static atomic_int turn;

static void both(pthread_mutex_t *first, pthread_mutex_t *second) {
    pthread_mutex_lock(first);
    pthread_mutex_lock(second);
    pthread_mutex_unlock(second);
    pthread_mutex_unlock(first);
}
static void *work(void *given) {
    int is_second = given != NULL;
    while (turn != 2 * is_second + 1) usleep(1000);
    if (is_second) both(own, &table);
    else both(&table, own);
    turn = 2 * is_second + 2;
    return NULL;
}
int main(int count, char **paths) {
    pthread_t threads[2];
    const pthread_mutex_t *before = NULL;
    int is_same = 0;
    if (count != 3) return 2;
    for (int number = 0; number < 2; number++)
        pthread_create(&threads[number], NULL, work, number ? &table : NULL);
    for (int number = 0; number < 2; number++) {
        void *library = dlopen(paths[number + 1], RTLD_NOW);
        if (library == NULL) return 3;
        own = dlsym(library, "own_mutex");
        if (own == NULL) return 4;
        turn = 2 * number + 1;
        while (turn != 2 * number + 2) usleep(1000);
        is_same = own == before;
        before = own;
        dlclose(library);
    }
    for (int number = 0; number < 2; number++) pthread_join(threads[number], NULL);
    return is_same ? 0 : 77;
}
