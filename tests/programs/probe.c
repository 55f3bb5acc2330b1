/* Report all that a process inherits, one "key value" a line, into the file argv[1].

   With "--env FILE PROGRAM ARG..." become PROGRAM with the environment in FILE, entries
   ended by NUL, whatever they look like. With "pending" as argv[2] wait for SIGRTMAX
   first, the last that is passed on: that has no other sign. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

extern char **environ;
static FILE *out;

static void bytes(const char *key, const char *value)
{
    fprintf(out, "%s ", key);
    for (; *value; value++)
        fprintf(out, "%02x", (unsigned char)*value);
    fprintf(out, "\n");
}

static int become(char **argv)
{
    static char data[1 << 16];
    char *entries[1000], **entry = entries;
    FILE *file = fopen(argv[2], "r");
    size_t length = fread(data, 1, sizeof data - 1, file);
    fclose(file);
    for (char *at = data; at < data + length; at += strlen(at) + 1)
        *entry++ = at;
    *entry = NULL;
    execve(argv[3], argv + 3, entries);
    return 1;
}

int main(int argc, char **argv)
{
    struct stat st;
    char key[64], text[4096];

    if (argc > 3 && !strcmp(argv[1], "--env"))
        return become(argv);

    /* Descriptors first, before there is one of ours. Up to 1023: no /proc needed. */
    static struct { int set, fd, fl; struct stat st; off_t at; } fds[1024];
    for (int fd = 0; fd < 1024; fd++) {
        fds[fd].fd = fcntl(fd, F_GETFD);
        if (fds[fd].fd < 0)
            continue;
        fds[fd].set = 1;
        fds[fd].fl = fcntl(fd, F_GETFL);
        fstat(fd, &fds[fd].st);
        fds[fd].at = lseek(fd, 0, SEEK_CUR);
    }
    out = fopen(argv[1], "w");
    for (int fd = 0; fd < 1024; fd++)
        if (fds[fd].set)
            /* A pipe or a socket is another one in every run. */
            fprintf(out, "fd.%d flags %d %o mode %o inode %lu:%lu offset %ld\n", fd,
                    fds[fd].fd, fds[fd].fl, fds[fd].st.st_mode, (long)fds[fd].st.st_dev,
                    S_ISFIFO(fds[fd].st.st_mode) || S_ISSOCK(fds[fd].st.st_mode)
                        ? 0 : (long)fds[fd].st.st_ino,
                    (long)fds[fd].at);

    for (int i = 0; i < argc; i++)
        if (i != 1) {
            sprintf(key, "arg.%d", i);
            bytes(key, argv[i]);
        }
    for (int i = 0; environ[i]; i++) {
        sprintf(key, "env.%d", i);
        bytes(key, environ[i]);
    }

    struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } act;
    for (int n = 1; n <= 64; n++)
        if (!syscall(SYS_rt_sigaction, n, NULL, &act, 8))
            fprintf(out, "signal.%d %s\n", n, act.handler ? "ignored" : "default");
    unsigned long mask = 0, pending = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
    fprintf(out, "mask %lx\n", mask);
    for (int i = 0; i < 5000; i++) {
        syscall(SYS_rt_sigpending, &pending, 8);
        if (pending >> 63 || argc < 3 || strcmp(argv[2], "pending"))
            break;
        usleep(1000);
    }
    fprintf(out, "pending %lx\n", pending);

    char *cwd = getcwd(text, sizeof text);
    bytes("cwd", cwd ? cwd : strerror(errno));
    if (!stat(".", &st))
        fprintf(out, "cwd.inode %lu:%lu\n", (long)st.st_dev, (long)st.st_ino);
    if (!stat("/", &st))
        fprintf(out, "root.inode %lu:%lu\n", (long)st.st_dev, (long)st.st_ino);
    fprintf(out, "umask %o\n", umask(0));
    for (int n = 0; n < RLIM_NLIMITS; n++) {
        struct rlimit limit;
        getrlimit(n, &limit);
        fprintf(out, "limit.%d %lx %lx\n", n, limit.rlim_cur, limit.rlim_max);
    }
    for (int n = 0; n < 3; n++) {
        struct itimerval timer;
        getitimer(n, &timer);
        /* What is left of it differs from run to run: that it is there must not. */
        fprintf(out, "timer.%d %d every %ld.%06ld\n", n,
                timer.it_value.tv_sec || timer.it_value.tv_usec,
                timer.it_interval.tv_sec, timer.it_interval.tv_usec);
    }
    fprintf(out, "nice %d\n", getpriority(PRIO_PROCESS, 0));
    fprintf(out, "ioprio %ld\n", syscall(SYS_ioprio_get, 1, 0));
    struct sched_param param;
    sched_getparam(0, &param);
    fprintf(out, "scheduler %d %d\n", sched_getscheduler(0), param.sched_priority);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    sched_getaffinity(0, sizeof cpus, &cpus);
    fprintf(out, "cpus %d %d%d\n", CPU_COUNT(&cpus), CPU_ISSET(0, &cpus), CPU_ISSET(1, &cpus));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2];
    syscall(SYS_capget, &header, caps);
    fprintf(out, "caps %x %x %x %x %x %x\n", caps[0].effective, caps[0].permitted,
            caps[0].inheritable, caps[1].effective, caps[1].permitted, caps[1].inheritable);
    for (int n = 0; n < 41; n++)
        fprintf(out, "cap.%d bounding %d ambient %d\n", n, prctl(PR_CAPBSET_READ, n, 0, 0, 0),
                prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, n, 0, 0));
    fprintf(out, "securebits %x\n", prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
    fprintf(out, "no_new_privs %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    fprintf(out, "dumpable %d\n", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    fprintf(out, "timerslack %d\n", prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
    fprintf(out, "thp %d\n", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    fprintf(out, "seccomp %d\n", prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
    fprintf(out, "personality %x\n", personality(0xffffffff));
    uid_t r, e, s;
    getresuid(&r, &e, &s);
    fprintf(out, "uid %d %d %d\n", r, e, s);
    getresgid(&r, &e, &s);
    fprintf(out, "gid %d %d %d\n", r, e, s);
    gid_t groups[64];
    int count = getgroups(64, groups);
    for (int n = 0; n < count; n++)
        fprintf(out, "group.%d %d\n", n, groups[n]);
    FILE *file = fopen("/proc/self/oom_score_adj", "r");
    if (file && fgets(text, sizeof text, file))
        fprintf(out, "oom_score_adj %s", text);
    if (file)
        fclose(file);
    int tty = open("/dev/tty", O_RDWR | O_NOCTTY);
    fprintf(out, "tty %s\n", tty < 0 ? "none" : "there is one");
    fclose(out);
    return 0;
}
