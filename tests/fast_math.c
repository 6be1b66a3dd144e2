/* fast_math.c - build/libfast.so: cc -Ofast -shared fast_math.c

   The library does nothing. That flag makes the linker add start-up code which turns on
   flush-to-zero in the thread that loads it; test_numerics.c loads it. */
int fast_math(void);
int fast_math(void) { return 1; }
