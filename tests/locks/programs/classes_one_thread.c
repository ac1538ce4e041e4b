/* expect: nothing
 * One thread takes the locks of two classes in both orders. */
#include "classes.h"

static void *all(void *unused) {
    both(&accounts[0].lock, &tables[0].lock);
    both(&tables[1].lock, &accounts[1].lock);
    return unused;
}
static void *account_first(void *unused) { both(&accounts[2].lock, &tables[1].lock); return unused; }

int main(void) {
    open_all();
    run(1, (void *(*[])(void *)){all});
    run(1, (void *(*[])(void *)){account_first});
    return 0;
}
