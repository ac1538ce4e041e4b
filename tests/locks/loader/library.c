/* A library whose constructor and destructor call the program that loads it. */
void in_constructor(void);
void in_destructor(void);

__attribute__((constructor)) static void begin(void) { in_constructor(); }
__attribute__((destructor)) static void end(void) { in_destructor(); }
