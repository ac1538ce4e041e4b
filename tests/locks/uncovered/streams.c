/* Streams that the program locks, or with functions of its own; arguments: which of the two. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;

static ssize_t put(void *cookie, const char *bytes, size_t count) {
    pthread_mutex_lock(&table);
    *(size_t *)cookie += bytes[0] == 'a' ? count : 0;
    pthread_mutex_unlock(&table);
    return (ssize_t)count;
}

int main(int count, char **words) {
    size_t total = 0;
    if (count > 1 && strcmp(words[1], "lock") == 0) {
        flockfile(stderr);
        pthread_mutex_lock(&table);
        pthread_mutex_unlock(&table);
        funlockfile(stderr);
        return 0;
    }
    FILE *stream = fopencookie(&total, "w", (cookie_io_functions_t){.write = put});
    if (stream == NULL) return 2;
    fputs("abc", stream);
    fclose(stream);
    return total == 3 ? 0 : 1;
}
