/* SPDX-License-Identifier: Apache-2.0 */

/* Finding and mounting the root file system: see init.h. */

#include "tools/agent/init.h"

#include "tools/agent/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define WAIT_SECONDS 10
#define LOOK_US      5000

char *
mf_init_root_parameter(const char *command_line, const char *key)
{
  size_t key_length = strlen(key);
  char *value = NULL;
  for (const char *word = command_line; *word != '\0';) {
    word += strspn(word, " \n");
    size_t length = strcspn(word, " \n");
    if (length >= key_length && strncmp(word, key, key_length) == 0 &&
        (length == key_length || word[key_length] == '=')) {
      size_t skip = key_length + (length > key_length);
      free(value); /* the last one counts */
      value = strndup(word + skip, length - skip);
    }
    word += length;
  }
  return value;
}

typedef struct {
  char uuid[37];
  char label[17];
} Names;

static void
format_uuid(const unsigned char *bytes, char out[37])
{
  for (int i = 0; i < 16; i++)
    out += sprintf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
}

/* Of ext2/3/4 and XFS, whose superblocks are at fixed places; others have to be named by device. */
static bool
read_names(const char *device, Names *ret_names)
{
  unsigned char block[2048];
  MF_AUTO_CLOSE int fd = open(device, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || pread(fd, block, sizeof block, 0) != (ssize_t)sizeof block)
    return false;
  memset(ret_names, 0, sizeof *ret_names);
  const unsigned char *ext = block + 1024;
  if (memcmp(block, "XFSB", 4) == 0) {
    format_uuid(block + 32, ret_names->uuid);
    memcpy(ret_names->label, block + 108, 12);
    return true;
  }
  if (ext[56] == 0x53 && ext[57] == 0xef) {
    format_uuid(ext + 104, ret_names->uuid);
    memcpy(ret_names->label, ext + 120, 16);
    return true;
  }
  return false;
}

static char *
find_by_name(bool by_uuid, const char *wanted)
{
  DIR *devices = opendir("/sys/class/block");
  char *found = NULL;
  for (struct dirent *entry;
       devices != NULL && found == NULL && (entry = readdir(devices)) != NULL;) {
    if (entry->d_name[0] == '.' || strncmp(entry->d_name, "loop", 4) == 0 ||
        strncmp(entry->d_name, "ram", 3) == 0)
      continue;
    MF_AUTO_FREE char *device = mf_util_printf("/dev/%s", entry->d_name);
    Names names;
    if (read_names(device, &names) &&
        (by_uuid ? strcasecmp(names.uuid, wanted) : strcmp(names.label, wanted)) == 0)
      found = mf_util_strdup(device);
  }
  if (devices != NULL)
    closedir(devices);
  return found;
}

/* Return: the device, if it is there (free). */
static char *
find_root(const char *root)
{
  static const struct {
    const char *prefix;
    bool by_uuid;
  } forms[] = {{"UUID=", true},
               {"/dev/disk/by-uuid/", true},
               {"LABEL=", false},
               {"/dev/disk/by-label/", false}};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
    if (strncmp(root, forms[i].prefix, strlen(forms[i].prefix)) == 0)
      return find_by_name(forms[i].by_uuid, root + strlen(forms[i].prefix));
  struct stat status;
  return stat(root, &status) == 0 && S_ISBLK(status.st_mode) ? mf_util_strdup(root) : NULL;
}

static char *
wait_for_root(const char *root, int seconds)
{
  for (int64_t end = mf_util_now_ms() + seconds * 1000LL;; usleep(LOOK_US)) {
    char *device = find_root(root);
    if (device != NULL || mf_util_now_ms() >= end)
      return device;
  }
}

static bool
mount_any(const char *device, const char *target, const char *types, unsigned long flags,
          const char *data)
{
  MF_AUTO_FREE char *list = mf_util_strdup(types);
  int error = ENODEV;
  for (char *save = NULL, *type = strtok_r(list, ",", &save); type != NULL;
       type = strtok_r(NULL, ",", &save)) {
    if (mount(device, target, type, flags, data) == 0)
      return true;
    if (error == ENODEV || errno != ENODEV) /* a type this kernel does not have says least */
      error = errno;
  }
  errno = error;
  return false;
}

/*
 * What mount(8) would do with rootflags=: words that are the kernel's own are flags, all others go
 * to the file system, which knows none of the first. Return: the others, comma-separated (free).
 */
static char *
split_options(const char *options, unsigned long *flags)
{
  static const struct {
    const char *word;
    unsigned long flag;
  } words[] = {{"noatime", MS_NOATIME},
               {"nodiratime", MS_NODIRATIME},
               {"relatime", MS_RELATIME},
               {"lazytime", MS_LAZYTIME},
               {"nosuid", MS_NOSUID},
               {"nodev", MS_NODEV},
               {"noexec", MS_NOEXEC},
               {"sync", MS_SYNCHRONOUS},
               {"ro", MS_RDONLY},
               {"rw", 0},
               {"defaults", 0}};
  MF_AUTO_FREE char *list = mf_util_strdup(options);
  char *rest = mf_util_strdup("");
  for (char *save = NULL, *word = strtok_r(list, ",", &save); word != NULL;
       word = strtok_r(NULL, ",", &save)) {
    size_t i = 0;
    while (i < sizeof words / sizeof *words && strcmp(words[i].word, word) != 0)
      i++;
    if (i < sizeof words / sizeof *words) {
      *flags |= words[i].flag;
      continue;
    }
    char *longer = mf_util_printf("%s%s%s", rest, rest[0] != '\0' ? "," : "", word);
    free(rest);
    rest = longer;
  }
  return rest;
}

bool
mf_init_root_mount(const char *command_line, const char *target, char **ret_error)
{
  MF_AUTO_FREE char *root = mf_init_root_parameter(command_line, "root");
  MF_AUTO_FREE char *types = mf_init_root_parameter(command_line, "rootfstype");
  MF_AUTO_FREE char *options = mf_init_root_parameter(command_line, "rootflags");
  MF_AUTO_FREE char *wait = mf_init_root_parameter(command_line, "rootwait");
  MF_AUTO_FREE char *read_only = mf_init_root_parameter(command_line, "ro");
  if (root == NULL || root[0] == '\0') {
    *ret_error = mf_util_strdup(
        "the kernel's command line does not say which disk holds the system: add root=/dev/vda");
    return false;
  }
  int seconds = wait != NULL && atoi(wait) > 0 ? atoi(wait) : WAIT_SECONDS;
  MF_AUTO_FREE char *device = wait_for_root(root, seconds);
  if (device == NULL) {
    *ret_error = mf_util_printf(
        "no disk \"%s\" after %d s: check root= and that the initrd has its driver", root, seconds);
    return false;
  }
  unsigned long flags = read_only != NULL ? MS_RDONLY : 0;
  MF_AUTO_FREE char *data = split_options(options != NULL ? options : "", &flags);
  if (mount_any(device, target, types != NULL && types[0] != '\0' ? types : "ext4,xfs,btrfs", flags,
                data))
    return true;
  *ret_error =
      mf_util_printf("%s cannot be mounted as the root file system: %s", device, strerror(errno));
  return false;
}
