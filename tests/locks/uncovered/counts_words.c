/* Ends well when it was given nine words, as `executes` gives them. */
#include <string.h>

int main(int count, char **words) {
    return !(count == 9 && strcmp(words[1], "a") == 0 && strcmp(words[8], "h") == 0);
}
