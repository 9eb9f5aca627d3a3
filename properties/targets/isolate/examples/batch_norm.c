/* A batch norm in C that bncheck can call: protocol.md, version 1, over standard input and output.
 *
 *     gcc -O2 -o batch_norm batch_norm.c -lm
 *     bncheck run exec:./batch_norm
 *
 * Built with -DWRONG it divides the variance by n - 1 where n is more than 8, and is caught.
 * The machine must be little-endian. Everything is computed in double.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- bytes in and out ----------------------------------------------------------------------- */

static unsigned char *body, *out;
static size_t body_size, at, out_size, out_room;

static const void *take(size_t n) {
  if (n > body_size - at) exit(2); /* a message that ends too early */
  at += n;
  return body + at - n;
}

#define TAKE(type, name)                                                                            \
  static type name(void) {                                                                          \
    type value;                                                                                     \
    memcpy(&value, take(sizeof value), sizeof value);                                               \
    return value;                                                                                   \
  }
TAKE(uint8_t, take_u8)
TAKE(uint32_t, take_u32)
TAKE(uint64_t, take_u64)
TAKE(int64_t, take_i64)
TAKE(double, take_f64)

static void put(const void *data, size_t n) {
  if (out_size + n > out_room) {
    out_room = 2 * (out_size + n);
    if ((out = realloc(out, out_room)) == NULL) exit(3);
  }
  if (n) memcpy(out + out_size, data, n);
  out_size += n;
}

static void put_byte(int value) {
  unsigned char byte = (unsigned char)value;
  put(&byte, 1);
}

static void put_u32(uint32_t value) { put(&value, 4); }

static void put_text(const char *text) {
  put_u32((uint32_t)strlen(text));
  put(text, strlen(text));
}

static void send_out(void) {
  uint32_t size = (uint32_t)out_size;
  fwrite(&size, 4, 1, stdout);
  fwrite(out, 1, out_size, stdout);
  fflush(stdout);
  out_size = 0;
}

static int message(void) {
  uint32_t size;
  if (fread(&size, 4, 1, stdin) != 1) return 0;
  if ((body = realloc(body, size)) == NULL) exit(3);
  body_size = size;
  at = 0;
  return fread(body, 1, size, stdin) == size;
}

/* --- arrays: their numbers as double -------------------------------------------------------- */

typedef struct {
  int there, wide, ndim;
  int64_t shape[32];
  int64_t n, c, inner; /* samples, channels, the product of the spatial sizes */
  double *data;
} Array;

static const char *problem;

static double *room(int64_t count) {
  double *found = malloc((size_t)(count ? count : 1) * sizeof *found);
  if (found == NULL) exit(3);
  return found;
}

static Array take_array(void) {
  Array a = {0};
  int tag = take_u8();
  if (tag == 'N') return a;
  if (tag != 'A') exit(2);
  uint32_t length = take_u32();
  const char *dtype = take(length);
  a.there = 1;
  a.wide = length == 3 && memcmp(dtype, "<f8", 3) == 0;
  if (!a.wide && !(length == 3 && memcmp(dtype, "<f4", 3) == 0)) problem = "a dtype it has not";
  a.ndim = take_u8();
  if (a.ndim > 32) exit(2);
  int64_t count = 1;
  for (int i = 0; i < a.ndim; i++) count *= a.shape[i] = take_i64();
  a.n = a.ndim > 0 ? a.shape[0] : 1;
  a.c = a.ndim > 1 ? a.shape[1] : 1;
  a.inner = 1;
  for (int i = 2; i < a.ndim; i++) a.inner *= a.shape[i];
  if (problem) return a; /* what follows is left unread */
  a.data = room(count);
  const unsigned char *raw = take((size_t)count * (a.wide ? 8 : 4));
  for (int64_t i = 0; i < count; i++) {
    float narrow;
    if (a.wide) memcpy(a.data + i, raw + 8 * i, 8);
    else memcpy(&narrow, raw + 4 * i, 4), a.data[i] = narrow;
  }
  return a;
}

static void put_array(const Array *like, int ndim, const int64_t *shape, const double *data) {
  int64_t count = 1;
  put_byte('A');
  put_text(like->wide ? "<f8" : "<f4");
  put_byte(ndim);
  for (int i = 0; i < ndim; i++) count *= shape[i];
  put(shape, 8 * (size_t)ndim);
  for (int64_t i = 0; i < count; i++) {
    float narrow = (float)data[i];
    if (like->wide) put(data + i, 8);
    else put(&narrow, 4);
  }
}

static void put_row(const Array *like, int64_t c, const double *data) {
  if (data) put_array(like, 1, &c, data);
  else put_byte('N');
}

/* --- batch norm ----------------------------------------------------------------------------- */

typedef struct {
  int training;
  int64_t n, c, inner;
  double *xhat, *rstd, *gamma; /* (n, c, inner), (c,), (c,) or NULL */
} Saved;

static Saved **saved;
static uint64_t saved_count;

#define EACH(i, k) /* i is where each value of channel k lies in (samples, c, inner) */              \
  for (int64_t s = 0; s < samples; s++)                                                             \
    for (int64_t i = (s * c + k) * inner, end = i + inner; i < end; i++)

static void normalize(const Array *x, const Array *gamma, const Array *beta, const double *mean,
                      const double *var, double eps, int training) {
  int64_t c = x->c, inner = x->inner, samples = x->n;
  Saved *kept = calloc(1, sizeof *kept);
  double *y = room(x->n * c * inner);
  *kept = (Saved){training, x->n, c, inner, room(x->n * c * inner), room(c), NULL};
  if (gamma->there) memcpy(kept->gamma = room(c), gamma->data, 8 * (size_t)c);
  for (int64_t k = 0; k < c; k++) {
    double rstd = kept->rstd[k] = 1 / sqrt(var[k] + eps);
    EACH(i, k) {
      kept->xhat[i] = (x->data[i] - mean[k]) * rstd;
      y[i] = (gamma->there ? gamma->data[k] : 1) * kept->xhat[i] + (beta->there ? beta->data[k] : 0);
    }
  }
  put_array(x, x->ndim, x->shape, y);
  free(y);
  saved = realloc(saved, (size_t)(saved_count + 1) * sizeof *saved);
  saved[saved_count++] = kept;
}

static void put_saved(void) {
  put_byte('G');
  put(&saved_count, 8); /* the last one, counted from 1 */
}

static void forward(int training, Array *a, double eps, double momentum) {
  Array *x = a, *running_mean = a + 3, *running_var = a + 4;
  int64_t c = x->c, inner = x->inner, samples = x->n, n = samples * inner;
  double *mean = room(c), *var = room(c);
  for (int64_t k = 0; k < c; k++) {
    double sum = 0, squares = 0;
    if (!training) {
      mean[k] = running_mean->data[k], var[k] = running_var->data[k];
      continue;
    }
    EACH(i, k) sum += x->data[i];
    mean[k] = sum / (double)n;
    EACH(i, k) squares += (x->data[i] - mean[k]) * (x->data[i] - mean[k]);
#ifdef WRONG
    var[k] = squares / (double)(n > 8 ? n - 1 : n);
#else
    var[k] = squares / (double)n;
#endif
  }
  put_byte('R'), put_byte('L'), put_u32(training ? 4 : 2);
  normalize(x, a + 1, a + 2, mean, var, eps, training);
  if (training && running_mean->there) {
    for (int64_t k = 0; k < c && n > 0; k++) { /* an empty batch leaves them as they are */
      running_mean->data[k] = (1 - momentum) * running_mean->data[k] + momentum * mean[k];
      running_var->data[k] = (1 - momentum) * running_var->data[k] + momentum * var[k];
    }
  }
  if (training) put_row(running_mean, c, running_mean->data), put_row(running_var, c, running_var->data);
  put_saved();
  free(mean), free(var);
}

static void backward(const Array *dy, const Saved *of) {
  int64_t c = of->c, inner = of->inner, samples = of->n, n = samples * inner;
  double *dx = room(n * c), *dgamma = room(c), *dbeta = room(c);
  for (int64_t k = 0; k < c; k++) {
    dgamma[k] = dbeta[k] = 0;
    EACH(i, k) dbeta[k] += dy->data[i], dgamma[k] += dy->data[i] * of->xhat[i];
    double slope = (of->gamma ? of->gamma[k] : 1) * of->rstd[k];
    EACH(i, k) {
      double through = of->training ? dbeta[k] / (double)n + of->xhat[i] * (dgamma[k] / (double)n) : 0;
      dx[i] = slope * (dy->data[i] - through);
    }
  }
  put_byte('R'), put_byte('L'), put_u32(3);
  put_array(dy, dy->ndim, dy->shape, dx);
  put_row(dy, c, of->gamma ? dgamma : NULL);
  put_row(dy, c, of->gamma ? dbeta : NULL);
  free(dx), free(dgamma), free(dbeta);
}

/* --- calls ---------------------------------------------------------------------------------- */

static void refuse(const char *why) {
  out_size = 0;
  put_byte('E'), put_text("Unsupported"), put_text(why);
}

static void call(void) {
  char name[32] = "";
  uint32_t length = take_u32();
  if (length >= sizeof name) exit(2);
  memcpy(name, take(length), length);
  Array a[5] = {{0}};
  int count = take_u8(), arrays = strncmp(name, "backward", 8) == 0 ? 1 : 5;
  problem = NULL;
  if (count != (arrays == 1 ? 2 : 5)) exit(2);
  for (int i = 0; i < arrays && !problem; i++) a[i] = take_array();
  if (problem) {
    refuse(problem);
  } else if (arrays == 1) {
    if (take_u8() != 'G') exit(2);
    uint64_t number = take_u64();
    if (number < 1 || number > saved_count || !saved[number - 1]) refuse("no such saved value");
    else backward(a, saved[number - 1]);
  } else {
    double eps = 0, momentum = 0;
    for (int named = take_u8(); named > 0; named--) {
      uint32_t size = take_u32();
      const char *key = take(size);
      if (take_u8() != 'F') exit(2);
      double value = take_f64();
      if (size == 3 && memcmp(key, "eps", 3) == 0) eps = value;
      else momentum = value;
    }
    forward(strcmp(name, "forward_train") == 0, a, eps, momentum);
  }
  for (int i = 0; i < 5; i++) free(a[i].data);
}

static void forget(void) {
  for (uint32_t count = take_u32(); count > 0; count--) {
    uint64_t number = take_u64();
    if (number < 1 || number > saved_count || !saved[number - 1]) continue;
    Saved *gone = saved[number - 1];
    free(gone->xhat), free(gone->rstd), free(gone->gamma), free(gone);
    saved[number - 1] = NULL;
  }
}

static void greet(void) {
  uint16_t version;
  if (memcmp(take(7), "bncheck", 7) != 0) exit(2);
  memcpy(&version, take(2), 2);
  if (version != 1) {
    put_byte('X'), put_text("it speaks version 1");
    return;
  }
  put_byte('H'), put(&version, 2), put_byte(4);
  put_text("forward_train"), put_text("backward_train");
  put_text("forward_eval"), put_text("backward_eval");
  put_text("{\"momentum\": \"update\", \"running_var\": \"biased\", "
           "\"dtypes\": [\"float32\", \"float64\"], \"statistics\": \"per_channel\"}");
}

int main(void) {
  while (message()) {
    int kind = take_u8();
    if (kind == 'H') greet();
    else if (kind == 'C') call();
    else if (kind == 'D') forget();
    else return 2;
    if (kind != 'D') send_out();
  }
  return 0;
}
