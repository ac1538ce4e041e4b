/* expect: information
 * An account and its table; another table and
 * its account. No two locks, but two classes. */
#include "classes.h"

static void *account_first(void *unused) { both(&accounts[0].lock, &tables[0].lock); return unused; }
static void *table_first(void *unused) { both(&tables[1].lock, &accounts[1].lock); return unused; }

int main(void) {
    open_all();
    run(2, (void *(*[])(void *)){account_first, table_first});
    return 0;
}
