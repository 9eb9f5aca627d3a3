/* Replays the corpus on a batch norm in C: cc -O2 -o replay replay.c -lm && ./replay ../mutants.json ../edges.json
   Entries marked core, or all with -a. Put your kernel in the place of normalize, train and back.
   For files that `bncheck corpus check` passes: nothing here guards against a malformed one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct V { char kind, *key, *text; struct V *first, *next; int count; } V; /* a JSON value */
static char *at;
static char *string(void) {
    char *start = ++at, *to = start;
    for (; *at && *at != '"'; *to++ = *at++) if (*at == '\\') at++;
    return at++, *to = 0, start;
}
static V *parse(void) {
    V *v = calloc(1, sizeof *v), **last = &v->first;
    v->kind = *(at += strspn(at, " \n\t\r"));
    if (*at == '"') return v->text = string(), v;
    if (*at != '{' && *at != '[') {
        size_t n = strcspn(at, ",]} \n\t\r");
        return v->text = calloc(n + 1, 1), memcpy(v->text, at, n), at += n, v;
    }
    for (at++; at += strspn(at, ", \n\t\r"), *at && *at != '}' && *at != ']'; v->count++) {
        char *key = NULL;
        if (v->kind == '{') key = string(), at += strspn(at, " :");
        *last = parse(), (*last)->key = key, last = &(*last)->next; }
    return at++, v;
}
static V *get(V *v, const char *key) {
    for (v = v ? v->first : NULL; v && strcmp(v->key, key); v = v->next);
    return v;
}
static V *item(V *v, int i) { for (v = v->first; i--; v = v->next); return v; }
static int is(V *v, const char *text) { return v && v->text && !strcmp(v->text, text); }
static double *numbers(V *array, const char *key, int *n) { /* NULL where the array is null */
    V *data = get(array, key), *repeat = get(array, "repeat");
    if (!data) return NULL;
    double *a = malloc(((*n = data->count * (repeat ? atoi(repeat->text) : 1)) + 1) * sizeof *a);
    for (V *v = data->first; v; v = v->next) *a++ = strtod(v->text, NULL);
    for (int i = data->count; i < *n; i++, a++) *a = a[-data->count];
    return a - *n;
}
typedef struct { double *x, *gamma, *mean, *rstd; int n, c, s, training, single; } Saved;
static double out(double v, int single) { return single ? (float)v : v; }
static double affine(double *p, int k, double fill) { return p ? p[k] : fill; }
#define EACH for (int i = 0; i < b->n; i++) for (int j = 0, q = (i * b->c + k) * b->s; j < b->s; j++, q++)
static void normalize(Saved *b, double *beta, double *y) {
    for (int k = 0; k < b->c; k++) EACH
        y[q] = out((b->x[q] - b->mean[k]) * b->rstd[k] * affine(b->gamma, k, 1) + affine(beta, k, 0), b->single);
}
static void train(Saved *b, double *beta, double eps, double *var, double *y) {
    b->mean = calloc(b->c, sizeof *b->mean);
    for (int m = b->n * b->s, k = 0; k < b->c; k++) {
        EACH b->mean[k] += b->x[q] / m;
        EACH var[k] += (b->x[q] - b->mean[k]) * (b->x[q] - b->mean[k]) / m;
        b->rstd[k] = 1 / sqrt(var[k] + eps);
    }
    normalize(b, beta, y);
}
static void back(Saved *b, double *dy, double *dx, double *dgamma, double *dbeta) {
    for (int m = b->n * b->s, k = 0; k < b->c; k++) {
        double mean = b->mean[k], rstd = b->rstd[k], gamma = affine(b->gamma, k, 1);
        EACH dbeta[k] += dy[q], dgamma[k] += dy[q] * (b->x[q] - mean) * rstd;
        EACH dx[q] = out(gamma * rstd * (dy[q] - (b->training
            ? dbeta[k] / m + (b->x[q] - mean) * rstd * dgamma[k] / m : 0)), b->single);
        dgamma[k] = out(dgamma[k], b->single), dbeta[k] = out(dbeta[k], b->single);
    }
}
static int within(V *call, const char *name, double *got) {
    int n = 0, bad = 0;
    V *wanted = get(get(call, "expected"), name);
    double *value = numbers(wanted, "value", &n), *radius = numbers(wanted, "radius", &n);
    for (int i = 0; i < n && value; i++)
        bad += !isinf(radius[i]) && (isnan(value[i]) ? !isnan(got[i]) : !(fabs(got[i] - value[i]) <= radius[i]));
    if (bad) printf("  %s %s: %d of %d wrong\n", get(call, "call")->text, name, bad, n);
    return bad;
}
static int replay(V *calls) { /* the number of wrong results, -1 where something is not offered */
    Saved kept[64];
    int bad = 0, n = 0;
    for (int at = 0; at < calls->count && at < 64; at++) {
        V *call = item(calls, at), *name = get(call, "call"), *x = get(call, "x"), *shape = get(x, "shape");
        if (x && !strncmp(name->text, "forward", 7)) {
            int known = is(get(x, "dtype"), "float32") || is(get(x, "dtype"), "float64");
            if (!known || get(call, "mask")) return -1; /* it takes no mask */
            Saved b = {.x = numbers(x, "data", &n), .gamma = numbers(get(call, "gamma"), "data", &n), .s = 1};
            b.n = atoi(item(shape, 0)->text), b.c = atoi(item(shape, 1)->text);
            b.training = is(name, "forward_train"), b.single = is(get(x, "dtype"), "float32");
            for (int i = 2; i < shape->count; i++) b.s *= atoi(item(shape, i)->text);
            double *beta = numbers(get(call, "beta"), "data", &n), eps = strtod(get(call, "eps")->text, NULL);
            double *y = calloc(b.n * b.c * b.s + 1, sizeof *y), *var = numbers(get(call, "running_var"), "data", &n);
            b.mean = numbers(get(call, "running_mean"), "data", &n), b.rstd = calloc(b.c, sizeof *y);
            if (b.training) train(&b, beta, eps, var = calloc(b.c, sizeof *y), y);
            for (int k = 0; !b.training && k < b.c; k++) b.rstd[k] = 1 / sqrt(var[k] + eps);
            if (b.training) bad += within(call, "mean", b.mean) + within(call, "var", var); else normalize(&b, beta, y);
            bad += within(call, "y", y), kept[at] = b;
        } else if (!strncmp(name->text, "backward", 8)) {
            Saved *b = &kept[atoi(get(call, "saved")->text)];
            double *dy = numbers(get(call, "dy"), "data", &n), *dx = calloc(n + 1, 8), *sums = calloc(2 * b->c, 8);
            back(b, dy, dx, sums, sums + b->c);
            bad += within(call, "dx", dx) + within(call, "dgamma", sums) + within(call, "dbeta", sums + b->c);
        } else return -1;
    }
    return bad;
}
int main(int argc, char **argv) {
    int passed = 0, failed = 0, skipped = 0, all = argc > 1 && !strcmp(argv[1], "-a");
    for (int i = 1 + all; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) return fprintf(stderr, "file=%s: expected a corpus file\n", argv[i]), 2;
        at = calloc(1, 1 << 24), at[fread(at, 1, (1 << 24) - 1, file)] = 0, fclose(file);
        for (V *entry = parse()->first; entry; entry = entry->next) {
            if (!all && !is(get(entry, "core"), "true")) continue;
            int bad = replay(get(entry, "calls")); if (bad > 0) printf("FAIL %s\n", entry->key);
            bad < 0 ? skipped++ : bad ? failed++ : passed++;
        }
    }
    return printf("%d pass, %d fail, %d not offered\n", passed, failed, skipped), failed > 0;
}
