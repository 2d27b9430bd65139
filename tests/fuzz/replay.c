/* SPDX-License-Identifier: Apache-2.0 */

/* Runs a fuzz target over every file of its corpus folder, without libFuzzer; TAP on stdout. */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
visible(const struct dirent *entry)
{
  return entry->d_name[0] != '.';
}

/* The copy is exactly as long as the file, so that a sanitizer sees one byte too far. */
static int
replay(const char *folder, const char *name)
{
  char path[4096];
  if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
    return -1;
  FILE *file = fopen(path, "re");
  struct stat status;
  if (file == NULL || fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode)) {
    if (file != NULL)
      fclose(file);
    return -1;
  }
  size_t size = (size_t)status.st_size;
  uint8_t *data = malloc(size > 0 ? size : 1);
  int result = -1;
  if (data != NULL && fread(data, 1, size, file) == size)
    result = LLVMFuzzerTestOneInput(data, size);
  free(data);
  fclose(file);
  return result;
}

int
main(int argc, char **argv)
{
  if (argc != 2) {
    fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
    return 2;
  }
  struct dirent **entries;
  int count = scandir(argv[1], &entries, visible, alphasort);
  if (count <= 0) {
    printf("1..1\nnot ok 1 - %s has no corpus: add at least one file\n", argv[1]);
    return 1;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("1..%d\n", count);
  int failed = 0;
  for (int i = 0; i < count; i++) {
    int result = replay(argv[1], entries[i]->d_name);
    printf("%sok %d - %s\n", result == 0 ? "" : "not ", i + 1, entries[i]->d_name);
    failed += result != 0;
    free(entries[i]);
  }
  free(entries);
  return failed > 0;
}
