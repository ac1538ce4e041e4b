/* expect: nothing
 * Memory with a mutex is moved, and other memory with another mutex comes to its address. */
#include "reborn.h"

static void renew(void) {
    void *elsewhere = map(NULL, 0);
    if (mremap(lock, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) != elsewhere) exit(3);
    map(lock, MAP_FIXED_NOREPLACE);
}
