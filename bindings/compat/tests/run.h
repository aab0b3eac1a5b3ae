/* Runs the calls of a client, on one thread or on several at once. The client defines `one_call`. */
#ifndef RUN_H
#define RUN_H

#include "calls.h"
#include <pthread.h>

static void one_call(struct random *r, const struct options *options, struct counts *counts, FILE *out);

struct worker {
  struct random random;
  struct options options;
  struct counts counts;
  FILE *out;
};

static void *work(void *of) {
  struct worker *w = of;
  for (int i = 0; i < w->options.calls; i++) one_call(&w->random, &w->options, &w->counts, w->out);
  return NULL;
}

static int run(int argc, char **argv, const char *who, void *function) {
  struct options options = parse(argc, argv);
  FILE *out = options.out ? fopen(options.out, "wb") : NULL;
  if (options.out && !out) return 2;
  struct worker workers[16] = {0};
  pthread_t threads[16];
  int count = options.threads < 16 ? options.threads : 16;
  for (int t = 0; t < count; t++)
    workers[t] = (struct worker){.random = {(uint64_t)t + 1}, .options = options, .out = t ? NULL : out};
  for (int t = 1; t < count; t++)
    if (pthread_create(&threads[t], NULL, work, &workers[t])) return 2;
  work(&workers[0]);
  struct counts all = workers[0].counts;
  for (int t = 1; t < count; t++) {
    pthread_join(threads[t], NULL);
    const struct counts *c = &workers[t].counts;
    all.calls += c->calls, all.exact_calls += c->exact_calls, all.wrong += c->wrong;
    all.inexact_calls += c->inexact_calls, all.inexact_wrong += c->inexact_wrong;
  }
  if (out && fclose(out)) return 2;
  return report(who, function, &all, options.strict);
}

#endif
