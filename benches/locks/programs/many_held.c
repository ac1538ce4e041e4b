/* Holds many mutexes at once, again and again; prints the nanoseconds of CPU time of a mutex. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return at.tv_sec * 1e9 + at.tv_nsec;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 10000;
    int rounds = argc > 2 ? atoi(argv[2]) : 20;
    pthread_mutex_t *mutexes = malloc(count * sizeof *mutexes);
    double began = 0;
    for (int i = 0; i < count; i++) pthread_mutex_init(&mutexes[i], NULL);
    for (int round = -1; round < rounds; round++) {
        if (round == 0) began = now(); /* The first round meets each for the first time. */
        for (int i = 0; i < count; i++) pthread_mutex_lock(&mutexes[i]);
        for (int i = count; i-- > 0;) pthread_mutex_unlock(&mutexes[i]);
    }
    printf("held %f\n", (now() - began) / rounds / count);
    return 0;
}
