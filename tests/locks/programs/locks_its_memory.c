/* Locks its memory, and prints how much of the process is resident and how much is locked, in kB,
 * and whether its own memory is: what there was before, and what was mapped later.
 *
 *     locks_its_memory current|future|limited
 *
 * `future`: it takes no lock before. `limited`: it may lock no more than 8 MiB, and is not root. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PAGES = 512, PAGE = 4096, LIMIT = 8 << 20, NOBODY = 65534 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char before[PAGES * PAGE];

static void take(void) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}
static int is_resident(char *memory) {
    unsigned char pages[PAGES + 1];
    char *start = (char *)((unsigned long)memory & ~(PAGE - 1UL));
    if (mincore(start, PAGES * PAGE, pages) != 0) return 0;
    for (int page = 0; page < PAGES; page++)
        if (!(pages[page] & 1)) return 0;
    return 1;
}
static long figure(const char *name) {
    char line[256];
    long found = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, name, strlen(name))) found = atol(line + strlen(name));
    if (status) fclose(status);
    return found;
}
int main(int count, char **words) {
    if (count != 2) return 2;
    if (!strcmp(words[1], "limited")) {
        struct rlimit limit = {LIMIT, LIMIT};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 3;
        if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0) return 4;
    }
    if (strcmp(words[1], "future")) take();
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        perror("mlockall");
        return 1;
    }
    take();
    char *later =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (later == MAP_FAILED) return 5;
    printf("%ld %ld %d %d\n", figure("VmRSS:"), figure("VmLck:"), is_resident(before),
           is_resident(later));
    return 0;
}
