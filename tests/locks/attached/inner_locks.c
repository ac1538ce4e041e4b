/* Threads contend for the locks of the C library itself: a stream's, the allocator's, an atfork list's. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static FILE *stream;

static void *writes(void *unused) {
    for (;;) fprintf(stream, "%d %s\n", 42, "words"), fflush(stream);
    return unused;
}

static void *allocates(void *unused) {
    for (;;) {
        void *blocks[8];
        for (int i = 0; i < 8; i++) blocks[i] = malloc(5000 + i);
        for (int i = 0; i < 8; i++) free(blocks[i]);
    }
    return unused;
}

int main(void) {
    mallopt(M_ARENA_MAX, 1);
    stream = fopen("/dev/null", "w");
    for (int i = 0; i < 12; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, i % 2 ? writes : allocates, NULL);
    }
    return writes(NULL) != NULL;
}
