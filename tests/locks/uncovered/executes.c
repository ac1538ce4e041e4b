/* Executes what its arguments say in every way that the C library has; and once itself, for a
 * second, where the first argument is "parent": linked statically, nobody can make a note of it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *none[] = {NULL};
static char *words[] = {"program", "a", "b", "c", "d", "e", "f", "g", "h", NULL};

static void execute(int way, const char *path) {
    switch (way) {
    case 0: execve(path, words, environ); break;
    case 1: execv(path, words); break;
    case 2: execvp(path, words); break;
    case 3: execvpe(path, words, none); break;
    case 4: execl(path, "program", "a", "b", "c", "d", "e", "f", "g", "h", NULL); break;
    case 5: execlp(path, "program", "a", "b", "c", "d", "e", "f", "g", "h", NULL); break;
    case 6: execle(path, "program", "a", "b", "c", "d", "e", "f", "g", "h", NULL, none); break;
    case 7: fexecve(open(path, O_RDONLY), words, environ); break;
    case 8: execveat(AT_FDCWD, path, words, environ, 0); break;
    }
}
static int ended_well(pid_t child) {
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
}
int main(int count, char **arguments) {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const char *path = arguments[1];
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
    if (count == 1) { usleep(1100000); return 0; }
    if (strcmp(path, "parent") == 0) {
        if (fork() == 0) execl(arguments[0], "child", NULL);
        return !ended_well(-1);
    }
    for (int way = 0; way < 9; way++) {
        pid_t child = way % 2 ? vfork() : fork();
        if (child == 0) { execute(way, path); _exit(9); }
        if (!ended_well(child)) return 1 + way;
        child = way % 2 ? vfork() : fork();
        if (child == 0) { execute(way, "/no/such/program"); _exit(9); }
        if (ended_well(child)) return 20 + way;
    }
    pid_t child;
    if (posix_spawn(&child, path, NULL, NULL, words, environ) || !ended_well(child)) return 10;
    if (posix_spawnp(&child, path, NULL, NULL, words, none) || !ended_well(child)) return 11;
    if (posix_spawn(NULL, path, NULL, NULL, words, environ) || !ended_well(-1)) return 12;
    return posix_spawn(&child, "/no/such/program", NULL, NULL, words, environ) == 0;
}
