/* expect: inversion
 * A mapping that is to replace memory with a mutex fails, unmapping it with an impossible size
 * fails too, and another mapping is cut within its first page, which stays whole: both mutexes are
 * still the same. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "common.h"

#define BYTES (2 * 4096)
static pthread_mutex_t *lock, *low;

static void *forth(void *unused) { both(&a, lock); both(&b, low); return unused; }
static void *back(void *unused) {
    void *there = lock;
    if (mmap(there, BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, -1, 0) != MAP_FAILED) exit(2);
    char *start = (char *)low - 512;
    if (mremap(start, BYTES, 104, 0) != start) exit(3);
    if (munmap(there, (size_t)-1) == 0) exit(5);
    both(lock, &a);
    both(low, &b);
    return unused;
}
static void *map(void) {
    void *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(4);
    return memory;
}
int main(void) {
    lock = map();
    low = (pthread_mutex_t *)((char *)map() + 512);
    run(2, (void *(*[])(void *)){forth, back});
    return 0;
}
