/* Takes two locks in both orders after it has given something up: the view of the file system
 * (`root`), or system calls that a lock does not need (`filter`), or nothing: it only asks whether
 * there are filters (`question`). With `fork`, a child does it.
 *
 *     restricted root|filter|question FOLDER [fork] */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common.h"

static void filter(void) {
    static const unsigned refused[] = {SYS_openat, SYS_mincore, SYS_prctl, SYS_readlink};
    struct sock_filter program[8] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        [5] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        [6] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    for (int number = 0; number < 4; number++)
        program[1 + number] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                           refused[number], 4 - number, 0);
    struct sock_fprog whole = {7, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) exit(3);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0) exit(4);
}
static void question(void) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) == 0) exit(7);
}
static void work(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, a_then_b, NULL);
    pthread_join(thread, NULL);
}
int main(int count, char **words) {
    if (count < 3) return 2;
    if (!strcmp(words[1], "filter")) filter();
    else if (!strcmp(words[1], "question")) question();
    else if (chroot(words[2]) != 0 || chdir("/") != 0) return 5;
    if (count > 3) {
        pid_t child = fork();
        if (child == 0) {
            work();
            _exit(0);
        }
        int status;
        return waitpid(child, &status, 0) == child && status == 0 ? 0 : 6;
    }
    work();
    return 0;
}
