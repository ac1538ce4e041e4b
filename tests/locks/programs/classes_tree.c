/* expect: nothing
 * A tree of accounts: each account is locked only under the lock of its parent. */
#include "classes.h"

static void *left(void *unused) { both(&accounts[1].lock, &accounts[0].lock); return unused; }
static void *right(void *unused) { both(&accounts[1].lock, &accounts[2].lock); return unused; }
static void *leaf(void *unused) { both(&accounts[2].lock, &accounts[3].lock); return unused; }

int main(void) {
    open_all();
    run(3, (void *(*[])(void *)){left, right, leaf});
    return 0;
}
