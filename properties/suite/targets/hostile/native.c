/* What a native kernel may do to the process that calls it. Built by test_isolate_hostile.py:
 *
 *     gcc -O1 -shared -fPIC -o native.so native.c -lm
 */
#define _GNU_SOURCE
#include <fenv.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int zero = 0;

void null_pointer(unsigned char *x, long bytes) { *(volatile char *)(long)zero = (char)bytes; }

void write_past_the_end(unsigned char *x, long bytes) { memset(x, 0, bytes + 8); }

void write_before_the_start(unsigned char *x, long bytes) { memset(x - 4, 0, 4); }

void infinite_loop(unsigned char *x, long bytes) {
  for (volatile int go = 1; go;) {
  }
}

void call_abort(unsigned char *x, long bytes) { abort(); }

void divide_by_zero(unsigned char *x, long bytes) {
  volatile int quotient = (int)bytes / zero;
  (void)quotient;
}

static int deeper(volatile char *above) {
  volatile char here[4096];
  here[0] = above[0];
  return deeper(here) + here[0];
}

void stack_overflow(unsigned char *x, long bytes) { deeper((volatile char *)x); }

void allocate_100_gb(unsigned char *x, long bytes) {
  for (int i = 0; i < 1600; i++) {
    void *room = malloc(64L << 20);
    if (room == NULL) abort();
    memset(room, 1, 64L << 20);
  }
}

void illegal_instruction(unsigned char *x, long bytes) { __builtin_trap(); }

void smash_the_heap(unsigned char *x, long bytes) {
  char *room = malloc(64);
  memset(room + 64, 0xff, 256);
  free(room);
  abort(); /* where the allocator has not noticed */
}

void leave(unsigned char *x, long bytes) { exit(0); }

void print_for_ever(unsigned char *x, long bytes) {
  for (;;) puts("all work and no play makes a dull kernel");
}

void round_upward(unsigned char *x, long bytes) { fesetround(FE_UPWARD); }

void round_toward_zero(unsigned char *x, long bytes) { fesetround(FE_TOWARDZERO); }

void flush_to_zero(unsigned char *x, long bytes) {
#ifdef __SSE2__
  unsigned int state;
  __asm__ volatile("stmxcsr %0" : "=m"(state));
  state |= 0x8040;
  __asm__ volatile("ldmxcsr %0" : : "m"(state));
#else
  fesetround(FE_DOWNWARD);
#endif
}

void set_variable(unsigned char *x, long bytes) { setenv("OMP_NUM_THREADS", "1", 1); }

void change_folder(unsigned char *x, long bytes) {
  if (chdir("/") != 0) abort();
}

void fork_a_child(unsigned char *x, long bytes) {
  if (fork() == 0) {
    sleep(1000);
    _exit(0);
  }
}

void fork_a_daemon(unsigned char *x, long bytes) {
  if (fork() == 0) {
    setsid();
    if (fork() == 0) sleep(1000);
    _exit(0);
  }
}

