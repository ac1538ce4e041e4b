/* expect: nothing
 * Two accounts are locked, always the one with the lower address first. */
#include "classes.h"

static void *one(void *unused) { both(&accounts[0].lock, &accounts[1].lock); return unused; }
static void *other(void *unused) { both(&accounts[1].lock, &accounts[3].lock); return unused; }
static void *third(void *unused) { both(&accounts[2].lock, &accounts[3].lock); return unused; }

int main(void) {
    open_all();
    run(3, (void *(*[])(void *)){one, other, third});
    return 0;
}
