/* expect: inversion
 * Two processes take two named semaphores in different orders. */
#include "shared.h"

#include <fcntl.h>
static char names[2][64];
static sem_t *one, *other;
static void take_both(sem_t *first, sem_t *second) {
    sem_wait(first);
    sem_wait(second);
    sem_post(second);
    sem_post(first);
}
static void forth(void) { take_both(one, other); }
static void back(void) { take_both(other, one); }
static void child(long number) {
    sem_close(one);
    sem_close(other);
    one = sem_open(names[0], 0);
    other = sem_open(names[1], 0);
    in_turn(back, number);
}
int main(void) {
    share(2);
    for (int i = 0; i < 2; i++) snprintf(names[i], sizeof names[i], "/vespiary-%d-%d", getpid(), i);
    one = sem_open(names[0], O_CREAT | O_EXCL, 0600, 1);
    other = sem_open(names[1], O_CREAT | O_EXCL, 0600, 1);
    pid_t pid = start(child, 1);
    in_turn(forth, 0);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 2; i++) sem_unlink(names[i]);
    return 0;
}
