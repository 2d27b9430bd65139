/* SPDX-License-Identifier: Apache-2.0 */

/* From the kernel to the image's init: see init.h. */

#include "tools/agent/init.h"

#include "tools/agent/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define NEW_ROOT "/newroot"
/* For the child to find the port, before a system is started that may hold an agent too; an
 * overloaded host needs most of it. */
#define PORT_MS 10000

/* A machine that cannot start must not just stand there: the host sees it go, and this line on its
 * console. */
static int __attribute__((format(printf, 1, 2))) end_machine(const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  MF_AUTO_FREE char *why = mf_util_vprintf(format, arguments);
  va_end(arguments);
  MF_AUTO_FREE char *line = mf_util_printf("\nmayfly: this machine cannot start: %s\n", why);
  static const char *const consoles[] = {"/dev/console", "/dev/ttyS0"};
  for (size_t i = 0; i < 2; i++) {
    MF_AUTO_CLOSE int fd = open(consoles[i], O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && mf_util_write_all(fd, line, strlen(line)))
      break;
  }
  usleep(200000); /* for the serial line */
  reboot(RB_POWER_OFF);
  return 1; /* the kernel panics */
}

typedef struct {
  const char *type, *target;
  unsigned long flags;
  const char *data;
} Mount;

#define LOCKED (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static bool
mount_there(const Mount *wanted)
{
  mkdir(wanted->target, 0755);
  return mount(wanted->type, wanted->target, wanted->type, wanted->flags, wanted->data) == 0 ||
         errno == EBUSY;
}

static bool
mount_basics(void)
{
  static const Mount mounts[] = {
      {"proc", "/proc", LOCKED, NULL},
      {"sysfs", "/sys", LOCKED, NULL},
      {"devtmpfs", "/dev", MS_NOSUID, "mode=0755"},
      {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
  };
  for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
    if (!mount_there(&mounts[i]))
      return false;
  /* devtmpfs has the kernel's nodes only; these names are of user space, and scripts count on them
   * before any udev. */
  static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                         {"/proc/self/fd/0", "/dev/stdin"},
                                         {"/proc/self/fd/1", "/dev/stdout"},
                                         {"/proc/self/fd/2", "/dev/stderr"}};
  for (size_t i = 0; i < sizeof links / sizeof *links; i++)
    if (symlink(links[i][0], links[i][1]) != 0 && errno != EEXIST)
      return false;
  return true;
}

/* What systemd mounts by a program each if it is not there yet, while everything else waits for a
 * processor. A kernel may lack any of it. */
static void
mount_extras(void)
{
  static const Mount mounts[] = {
      {"mqueue", "/dev/mqueue", LOCKED, NULL},
      {"hugetlbfs", "/dev/hugepages", 0, NULL},
      {"debugfs", "/sys/kernel/debug", LOCKED, NULL},
      {"tracefs", "/sys/kernel/tracing", LOCKED, NULL},
  };
  for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
    (void)mount_there(&mounts[i]);
}

/* Its own program image, so that it is called what it is, and '@' so that systemd's last killing at
 * a shutdown passes it by. */
static int
start_agent(void)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return -1;
  pid_t child = fork();
  if (child == 0) {
    setsid();
    MF_AUTO_FREE char *boot_fd = mf_util_printf("%d", fcntl(ends[1], F_DUPFD, 3));
    execl("/proc/self/exe", "@mayfly-agent", "--boot-fd", boot_fd, (char *)NULL);
    _exit(127);
  }
  close(ends[1]);
  if (child > 0)
    return ends[0];
  close(ends[0]);
  return -1;
}

static void
wait_for_port(int agent_fd)
{
  struct pollfd told = {.fd = agent_fd, .events = POLLIN};
  char word;
  if (poll(&told, 1, PORT_MS) > 0)
    (void)!read(agent_fd, &word, 1);
}

bool
mf_init_send_root(int agent_fd, int root_fd)
{
  char byte = 'r';
  struct iovec data = {&byte, 1};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &root_fd, sizeof root_fd);
  return sendmsg(agent_fd, &message, MSG_NOSIGNAL) == 1;
}

bool
mf_init_follow_root(int boot_fd)
{
  char byte;
  struct iovec data = {&byte, 1};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t got = recvmsg(boot_fd, &message, MSG_CMSG_CLOEXEC);
  /* An init that took over without having read our word has reset the connection: that is told
   * first, once, and what it sent comes after. */
  while (got < 0 && (errno == ECONNRESET || errno == EINTR))
    got = recvmsg(boot_fd, &message, MSG_CMSG_CLOEXEC);
  if (got != 1)
    return false;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header == NULL || header->cmsg_type != SCM_RIGHTS)
    return false;
  MF_AUTO_CLOSE int root_fd = -1;
  memcpy(&root_fd, CMSG_DATA(header), sizeof root_fd);
  return fchdir(root_fd) == 0 && chroot(".") == 0 && chdir("/") == 0;
}

/* The old root is memory. What is mounted in it is another device, and left alone. */
static void
free_folder(int folder_fd, dev_t device)
{
  DIR *folder = fdopendir(folder_fd);
  if (folder == NULL) {
    close(folder_fd);
    return;
  }
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    struct stat status;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        fstatat(folder_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        status.st_dev != device)
      continue;
    if (S_ISDIR(status.st_mode)) {
      int inner = openat(folder_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (inner >= 0)
        free_folder(inner, device);
      unlinkat(folder_fd, entry->d_name, AT_REMOVEDIR);
    } else {
      unlinkat(folder_fd, entry->d_name, 0);
    }
  }
  closedir(folder);
}

static bool
move_mounts(void)
{
  static const char *const moved[] = {"/dev", "/proc", "/sys"};
  for (size_t i = 0; i < sizeof moved / sizeof *moved; i++) {
    MF_AUTO_FREE char *target = mf_util_printf(NEW_ROOT "%s", moved[i]);
    mkdir(target, 0755);
    if (mount(moved[i], target, NULL, MS_MOVE, NULL) != 0)
      return false;
  }
  mkdir(NEW_ROOT "/run", 0755);
  return mount("tmpfs", NEW_ROOT "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=20%") == 0;
}

static bool
switch_root(void)
{
  struct stat old_root;
  int old_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (old_fd < 0 || fstat(old_fd, &old_root) != 0 || !move_mounts() || chdir(NEW_ROOT) != 0)
    return false;
  free_folder(old_fd, old_root.st_dev);
  return mount(".", "/", NULL, MS_MOVE, NULL) == 0 && chroot(".") == 0 && chdir("/") == 0;
}

static void
run_system(const char *command_line, char **argv)
{
  MF_AUTO_FREE char *wanted = mf_init_root_parameter(command_line, "init");
  const char *const inits[] = {wanted != NULL ? wanted : "", "/sbin/init", "/lib/systemd/systemd",
                               "/bin/init", "/bin/sh"};
  for (size_t i = 0; i < sizeof inits / sizeof *inits; i++) {
    argv[0] = (char *)inits[i];
    if (inits[i][0] != '\0')
      execv(inits[i], argv);
  }
}

int
mf_init_run(char **argv)
{
  if (!mount_basics())
    return end_machine(
        "/proc, /sys or /dev cannot be mounted (%s): the kernel lacks devtmpfs or devpts",
        strerror(errno));
  MF_AUTO_FREE char *command_line = mf_util_read_file("/proc/cmdline", 65536, NULL);
  if (command_line == NULL)
    return end_machine("the kernel's command line cannot be read: %s", strerror(errno));

  if (access("/sys/class/virtio-ports", F_OK) != 0)
    mf_init_modules_load("virtio_console.ko");
  MF_AUTO_CLOSE int agent_fd = start_agent();
  if (agent_fd < 0)
    return end_machine("the agent cannot be started: %s", strerror(errno));
  mount_extras();
  mf_init_modules_load(NULL);

  mkdir(NEW_ROOT, 0755);
  char *error = NULL;
  if (!mf_init_root_mount(command_line, NEW_ROOT, &error))
    return end_machine("%s", error);
  MF_AUTO_CLOSE int root_fd = open(NEW_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
  wait_for_port(agent_fd);
  if (root_fd < 0 || !switch_root())
    return end_machine("the root file system cannot be taken into use: %s", strerror(errno));
  if (!mf_init_send_root(agent_fd, root_fd))
    return end_machine("the agent ended before the system was started");
  run_system(command_line, argv);
  return end_machine("the image has no init (tried init=, /sbin/init, /lib/systemd/systemd, "
                     "/bin/init and /bin/sh)");
}
