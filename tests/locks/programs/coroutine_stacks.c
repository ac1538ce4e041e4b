/* expect: inversion
 * Both orders are taken on the stacks of
 * coroutines, which have no end mark. */
#include <stdint.h>
#include <sys/mman.h>

#include "common.h"

#define STACK_BYTES (64 << 10)

static void one_order(void) { both(&a, &b); }
static void other_order(void) { both(&b, &a); }

/* A mutex in a frame that is left: the next one at its place is another. */
static __attribute__((noinline)) void in_a_frame(void) {
    pthread_mutex_t local = PTHREAD_MUTEX_INITIALIZER; both(&c, &local);
}

/* Calls a function on another stack. By its description the frame goes on above that stack's end. */
__attribute__((noinline)) static void call_on(char *end, void (*function)(void)) {
#if defined(__x86_64__)
    __asm__ volatile("mov %%rsp, %%rbx\n\t"
                     "mov %0, %%rsp\n\t"
                     "call *%1\n\t"
                     "mov %%rbx, %%rsp"
                     :
                     : "r"(end), "r"(function)
                     : "rbx", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
#else
    (void)end;
    function();
#endif
}

static void *on_last_pages(void *unused) {
    char *base = mmap(NULL, STACK_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(base + STACK_BYTES, 4096, PROT_NONE);
    call_on(base + STACK_BYTES, in_a_frame);
    call_on(base + STACK_BYTES, in_a_frame);
    call_on(base + STACK_BYTES, one_order);
    return unused;
}

static void *among_remains(void *unused) {
    uintptr_t *words = malloc(2 * STACK_BYTES);
    size_t count = 2 * STACK_BYTES / sizeof *words;
    /* Return addresses into real functions, and words that their frames could take for pointers. */
    for (size_t position = 0; position < count; position++)
        words[position] = position % 3 ? (uintptr_t)call_on + 40 : (uintptr_t)position << 44 | 0x15;
    call_on((char *)words + STACK_BYTES, other_order);
    free(words);
    return unused;
}

int main(void) {
    run(2, (void *(*[])(void *)){on_last_pages, among_remains});
    return 0;
}
