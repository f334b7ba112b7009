/* Makes i386's system calls and prints what they say, a line each. Without a C library:
   gcc -m32 -static -nostdlib -ffreestanding -fno-stack-protector -fno-pie -no-pie */

static long call(long nr, long a, long b, long c, long d, long e)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return result;
}

static void say(const char *text)
{
    long length = 0;
    while (text[length])
        length++;
    call(4, 1, (long)text, length, 0, 0);
}

static void number(long value)
{
    char digits[16];
    int at = sizeof digits - 1;
    unsigned long rest = value < 0 ? -value : value;
    digits[at] = 0;
    do
        digits[--at] = '0' + rest % 10;
    while (rest /= 10);
    if (value < 0)
        digits[--at] = '-';
    say(" ");
    say(digits + at);
}

static unsigned char buffer[512];

static long half(int at) { return *(unsigned short *)(buffer + at); }
static long word(int at) { return *(int *)(buffer + at); }

static void line(const char *name) { say("\n"); say(name); }

/* The owner as each of the stat calls has it. */
static void owner(const char *path)
{
    long name = (long)path, to = (long)buffer;
    line(path);
    number(call(18, name, to, 0, 0, 0)), number(half(8)), number(half(10));       /* oldstat */
    number(call(106, name, to, 0, 0, 0)), number(half(12)), number(half(14));     /* stat */
    number(call(107, name, to, 0, 0, 0)), number(half(12)), number(half(14));     /* lstat */
    number(call(195, name, to, 0, 0, 0)), number(word(24)), number(word(28));     /* stat64 */
    number(call(300, -100, name, to, 0, 0)), number(word(24)), number(word(28));  /* fstatat64 */
    number(call(383, -100, name, 0, 0x7ff, to)), number(word(20)), number(word(24)); /* statx */
    number(half(28));
}

void _start(void)
{
    static unsigned int three[3];
    static unsigned short narrow[3];
    static unsigned int groups[2] = { 100000, 7 };

    call(8, (long)"file", 0644, 0, 0, 0);                                         /* creat */
    number(call(182, (long)"file", 1, 0xffff, 0, 0));                             /* chown */
    owner("file");
    number(call(212, (long)"file", 100000, 2, 0, 0));                             /* chown32 */
    owner("file");
    number(call(298, -100, (long)"file", -1, 3, 0));                              /* fchownat */
    owner("file");

    line("ids");
    number(call(206, 2, (long)groups, 0, 0, 0));                                  /* setgroups32 */
    number(call(80, 0, 0, 0, 0, 0));                                              /* getgroups */
    number(call(80, 2, (long)narrow, 0, 0, 0)), number(narrow[0]), number(narrow[1]);
    number(call(210, 8, 100001, 9, 0, 0));                                        /* setresgid32 */
    number(call(50, 0, 0, 0, 0, 0)), number(call(202, 0, 0, 0, 0, 0));            /* getegid, getegid32 */
    number(call(164, 5, 6, 0xffff, 0, 0));                                        /* setresuid */
    number(call(209, (long)three, (long)(three + 1), (long)(three + 2), 0, 0));   /* getresuid32 */
    number(three[0]), number(three[1]), number(three[2]);
    number(call(165, (long)narrow, (long)(narrow + 1), (long)(narrow + 2), 0, 0)); /* getresuid */
    number(narrow[0]), number(narrow[1]), number(narrow[2]);
    number(call(24, 0, 0, 0, 0, 0)), number(call(49, 0, 0, 0, 0, 0));             /* getuid, geteuid */

    line("made");
    number(call(5, (long)"opened", 0101, 0600, 0, 0) > 2);                        /* open */
    number(call(39, (long)"made", 0700, 0, 0, 0));                                /* mkdir */
    number(call(14, (long)"fifo", 010600, 0, 0, 0));                              /* mknod */
    number(call(83, (long)"file", (long)"link", 0, 0, 0));                        /* symlink */
    number(call(182, (long)"file", 1, 1, 0, 0));
    number(call(425, 1, 0, 0, 0, 0));                                             /* io_uring_setup */
    owner("opened"), owner("made"), owner("fifo");
    say("\n");
    call(1, 0, 0, 0, 0, 0);
}
