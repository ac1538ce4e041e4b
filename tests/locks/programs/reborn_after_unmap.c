/* expect: nothing
 * Memory with a mutex is unmapped, and other memory with another mutex comes to its address. */
#include "reborn.h"

static void renew(void) {
    munmap(lock, 4096);
    map(lock, MAP_FIXED_NOREPLACE);
}
