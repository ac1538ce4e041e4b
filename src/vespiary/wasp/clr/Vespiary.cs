// The interface of managed plug-ins: this file is compiled along with each of them.
//
// A plug-in is a public class that derives from Vespiary.Plugin and overrides what it needs:
//
//     public class Echo : Vespiary.Plugin
//     {
//         public override void OnMessage(Vespiary.Connection connection, Vespiary.Message message)
//         {
//             connection.Send(message);
//         }
//     }
//
// The methods are called on one thread, one after the other, so they must not block. Connections
// can be used from any thread. The second half of the file, Bridge, is called by the server only.

using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;

namespace Vespiary
{
    /// <summary>What a plug-in derives from. An object is made per endpoint.</summary>
    public abstract class Plugin
    {
        /// <summary>The connections that are open now; from any thread.</summary>
        public ICollection<Connection> Connections
        {
            get { return Bridge.Connections; }
        }

        /// <summary>Called before connections are accepted. An exception stops the start.</summary>
        public virtual void OnStart(Config config) { }

        /// <summary>Called when a connection is open.</summary>
        public virtual void OnOpen(Connection connection) { }

        /// <summary>Called with each message. An exception closes the connection.</summary>
        public abstract void OnMessage(Connection connection, Message message);

        /// <summary>Called once at the end of a connection.</summary>
        public virtual void OnClose(Connection connection, CloseReason reason) { }

        /// <summary>Called when the server stops, after the last connection has ended.</summary>
        public virtual void OnStop() { }

        /// <summary>Send a message to many connections: it is copied once.</summary>
        public void Broadcast(string text, IEnumerable<Connection> to)
        {
            Bridge.Send(to, Encoding.UTF8.GetBytes(text), true);
        }

        /// <summary>The same with bytes.</summary>
        public void Broadcast(byte[] data, IEnumerable<Connection> to)
        {
            Bridge.Send(to, data, false);
        }

        /// <summary>Send a message to all connections that are subscribed to a topic: those of this
        /// process, and with a cluster those of all nodes.</summary>
        public void Publish(string topic, string text)
        {
            Bridge.Publish(topic, Encoding.UTF8.GetBytes(text), true);
        }

        /// <summary>The same with bytes.</summary>
        public void Publish(string topic, byte[] data)
        {
            Bridge.Publish(topic, data, false);
        }
    }

    /// <summary>A message: text on WebSocket if it was sent as text, otherwise bytes.</summary>
    public sealed class Message
    {
        private string text;

        internal Message(byte[] data, bool isText)
        {
            Bytes = data;
            IsText = isText;
        }

        public byte[] Bytes { get; private set; }

        public bool IsText { get; private set; }

        /// <summary>The bytes as UTF-8.</summary>
        public string Text
        {
            get { return text ?? (text = Encoding.UTF8.GetString(Bytes)); }
        }

        public override string ToString()
        {
            return Text;
        }
    }

    /// <summary>How a connection has ended.</summary>
    public sealed class CloseReason
    {
        internal CloseReason(int code, string text)
        {
            Code = code;
            Text = text;
        }

        /// <summary>The close code of WebSocket; 0 without one.</summary>
        public int Code { get; private set; }

        /// <summary>What the log says about it.</summary>
        public string Text { get; private set; }

        public override string ToString()
        {
            return Text;
        }
    }

    /// <summary>One connection. All members can be used from any thread.</summary>
    public sealed class Connection
    {
        internal Connection(long id, string peer, string local, string endpoint)
        {
            Id = id;
            Peer = peer;
            LocalAddress = local;
            Endpoint = endpoint;
            IsOpen = true;
        }

        /// <summary>A number that no other connection of this process has.</summary>
        public long Id { get; private set; }

        /// <summary>Host and port of the peer; empty for a Unix socket without a name.</summary>
        public string Peer { get; private set; }

        /// <summary>Host and port of this end, or the path of a Unix socket.</summary>
        public string LocalAddress { get; private set; }

        /// <summary>The name of the endpoint in the configuration.</summary>
        public string Endpoint { get; private set; }

        /// <summary>False after Close and Abort, and when OnClose was called.</summary>
        public bool IsOpen { get; internal set; }

        /// <summary>For the plug-in's own data.</summary>
        public object UserData { get; set; }

        /// <summary>Send text: on WebSocket a text message, on a stream its bytes in UTF-8.</summary>
        public void Send(string text)
        {
            Send(Encoding.UTF8.GetBytes(text), true);
        }

        /// <summary>Send bytes: on WebSocket a binary message.</summary>
        public void Send(byte[] data)
        {
            Send(data, false);
        }

        /// <summary>Send a message of the same kind as another one.</summary>
        public void Send(Message message)
        {
            Send(message.Bytes, message.IsText);
        }

        /// <summary>Close: what was sent before is delivered first.</summary>
        public void Close()
        {
            Close(0, "");
        }

        /// <summary>Close with a close code and a reason, which only WebSocket has.</summary>
        public void Close(int code, string reason)
        {
            if (code != 0 && (code < 1000 || code > 4999))
            {
                throw new ArgumentOutOfRangeException("code", code, "expected 1000 to 4999");
            }
            IsOpen = false;
            Bridge.Put(Record.Close, code, Encoding.UTF8.GetBytes(reason ?? ""), false, Id);
        }

        /// <summary>Reset the connection: what was not sent yet is dropped.</summary>
        public void Abort()
        {
            IsOpen = false;
            Bridge.Put(Record.Abort, 0, new byte[0], false, Id);
        }

        public override string ToString()
        {
            return "connection " + Id + " of " + Peer;
        }

        /// <summary>Get what is published to a topic, from now on.</summary>
        public void Subscribe(string topic)
        {
            Change(Record.Subscribe, topic);
        }

        /// <summary>Get what is published to a topic no longer.</summary>
        public void Unsubscribe(string topic)
        {
            Change(Record.Unsubscribe, topic);
        }

        private void Change(byte kind, string topic)
        {
            if (topic == null)
            {
                throw new ArgumentNullException("topic");
            }
            if (IsOpen)
            {
                Bridge.Put(kind, 0, Encoding.UTF8.GetBytes(topic), true, Id);
            }
        }

        private void Send(byte[] data, bool isText)
        {
            // The peer may have left a moment ago: as with a message that is on its way then.
            if (IsOpen)
            {
                Bridge.Put(Record.Send, 0, data, isText, Id);
            }
        }
    }

    /// <summary>The table "config" of the endpoint: string, long, double, bool, DateTime,
    /// List of object, and Config for a table.</summary>
    public sealed class Config : Dictionary<string, object>
    {
        /// <summary>A value that must be there.</summary>
        public T Get<T>(string name)
        {
            object value;
            if (!TryGetValue(name, out value))
            {
                throw new ArgumentException("config." + name + " is missing");
            }
            return Converted<T>(name, value);
        }

        /// <summary>A value, or the default if it is not there.</summary>
        public T Get<T>(string name, T otherwise)
        {
            object value;
            return TryGetValue(name, out value) ? Converted<T>(name, value) : otherwise;
        }

        private static T Converted<T>(string name, object value)
        {
            if (value is T)
            {
                return (T)value;
            }
            try
            {
                if (value is long || (value is double && !IsWhole(typeof(T))))
                {
                    return (T)Convert.ChangeType(value, typeof(T), CultureInfo.InvariantCulture);
                }
            }
            catch (SystemException)
            {
                // Reported below.
            }
            throw new ArgumentException(
                "config." + name + ": expected " + typeof(T).Name + "; got "
                + value.GetType().Name + " " + value);
        }

        private static bool IsWhole(Type type)
        {
            return type != typeof(double) && type != typeof(float) && type != typeof(decimal);
        }
    }

    /// <summary>Lines in the log of the server.</summary>
    public static class Log
    {
        public static void Debug(string text) { Write(10, text); }

        public static void Info(string text) { Write(20, text); }

        public static void Warning(string text) { Write(30, text); }

        public static void Error(string text) { Write(40, text); }

        private static void Write(int level, string text)
        {
            Bridge.Put(Record.Log, level, Encoding.UTF8.GetBytes(text ?? ""), false);
        }
    }

    internal static class Record
    {
        internal const byte Send = 1, Close = 2, Abort = 3, Log = 4, Error = 5;
        internal const byte Subscribe = 6, Unsubscribe = 7, Publish = 8;
    }

    /// <summary>Called by the server. Events come as calls of Handle. What the plug-in does is
    /// queued as records, which the server takes after each event, or when it was woken: so the
    /// plug-in never waits for the server, whichever thread it uses.</summary>
    public static class Bridge
    {
        public const int Version = 1;

        private const int Open = 1, Message = 2, Closed = 3, Stop = 4;
        private const int HasFailed = 1, HasRecords = 2;
        private const long RecordBytesMax = 256L << 20;

        private static readonly ConcurrentDictionary<long, Connection> connections =
            new ConcurrentDictionary<long, Connection>();
        private static readonly Queue<byte[]> records = new Queue<byte[]>();
        private static readonly Dictionary<string, Assembly> assemblies =
            new Dictionary<string, Assembly>();
        private static readonly HandleCall handle = Handle;
        private static readonly TakeCall take = Take;
        private static long recordBytes;
        private static int wake = -1;
        private static int loopThread;
        private static Plugin plugin;

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate int HandleCall(int what, long id, IntPtr data, int length, int flags);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        private delegate int TakeCall(IntPtr buffer, int size);

        internal static ICollection<Connection> Connections
        {
            get { return connections.Values; }
        }

        /// <summary>The classes that are plug-ins, each on a line.</summary>
        public static string Names()
        {
            return string.Join("\n", Types().Select(one => one.FullName).ToArray());
        }

        /// <summary>Let a reference of the plug-in be found: it is loaded already.</summary>
        public static void Add(Assembly assembly)
        {
            if (assemblies.Count == 0)
            {
                AppDomain.CurrentDomain.AssemblyResolve += (sender, wanted) =>
                {
                    Assembly found;
                    assemblies.TryGetValue(new AssemblyName(wanted.Name).Name, out found);
                    return found;
                };
            }
            assemblies[assembly.GetName().Name] = assembly;
        }

        /// <summary>Make the plug-in. Returns null, or what it has thrown.</summary>
        public static string Start(string name, Config config, int wakeDescriptor)
        {
            wake = wakeDescriptor;
            loopThread = Thread.CurrentThread.ManagedThreadId;
            LetProcessExit();
            try
            {
                Type type = Types().First(one => one.FullName == name);
                plugin = (Plugin)Activator.CreateInstance(type);
                plugin.OnStart(config);
                return null;
            }
            catch (Exception error)
            {
                return (error is TargetInvocationException ? error.InnerException : error).ToString();
            }
        }

        /// <summary>Environment.Exit would make pythonnet end Python too, in the middle of a call:
        /// it may wait for ever.</summary>
        private static void LetProcessExit()
        {
            Type engine = Type.GetType("Python.Runtime.PythonEngine, Python.Runtime");
            MethodInfo method = engine == null ? null : engine.GetMethod(
                "OnProcessExit", BindingFlags.NonPublic | BindingFlags.Static);
            if (method != null)
            {
                AppDomain.CurrentDomain.ProcessExit -=
                    (EventHandler)Delegate.CreateDelegate(typeof(EventHandler), method);
            }
        }

        /// <summary>The addresses of Handle and Take for callers in C.</summary>
        public static long[] Addresses()
        {
            return new[]
            {
                Marshal.GetFunctionPointerForDelegate(handle).ToInt64(),
                Marshal.GetFunctionPointerForDelegate(take).ToInt64(),
            };
        }

        internal static void Send(IEnumerable<Connection> to, byte[] data, bool isText)
        {
            long[] ids = to.Where(one => one.IsOpen).Select(one => one.Id).ToArray();
            if (ids.Length > 0)
            {
                Put(Record.Send, 0, data, isText, ids);
            }
        }

        internal static void Publish(string topic, byte[] data, bool isText)
        {
            byte[] name = Encoding.UTF8.GetBytes(topic);
            if (name.Length > ushort.MaxValue)
            {
                throw new ArgumentException("expected a topic of at most 65535 bytes", "topic");
            }
            var both = new byte[name.Length + data.Length];
            Buffer.BlockCopy(name, 0, both, 0, name.Length);
            Buffer.BlockCopy(data, 0, both, name.Length, data.Length);
            Put(Record.Publish, name.Length, both, isText);
        }

        internal static void Put(byte kind, int code, byte[] data, bool isText, params long[] ids)
        {
            var record = new byte[12 + 8 * ids.Length + data.Length];
            record[0] = kind;
            record[1] = (byte)(isText ? 1 : 0);
            record[2] = (byte)code;
            record[3] = (byte)(code >> 8);
            Buffer.BlockCopy(new[] { ids.Length, data.Length }, 0, record, 4, 8);
            Buffer.BlockCopy(ids, 0, record, 12, 8 * ids.Length);
            Buffer.BlockCopy(data, 0, record, 12 + 8 * ids.Length, data.Length);
            bool isFirst;
            lock (records)
            {
                bool isFull = recordBytes > 0 && recordBytes + record.Length > RecordBytesMax;
                if (isFull && kind != Record.Error)
                {
                    throw new InvalidOperationException(
                        recordBytes + " bytes wait for the server, which is busy: send less");
                }
                isFirst = records.Count == 0;
                recordBytes += record.Length;
                records.Enqueue(record);
            }
            if (isFirst && Thread.CurrentThread.ManagedThreadId != loopThread)
            {
                long one = 1;
                Write(wake, ref one, (IntPtr)8);
            }
        }

        private static IEnumerable<Type> Types()
        {
            return typeof(Bridge).Assembly.GetTypes().Where(
                one => one.IsSubclassOf(typeof(Plugin)) && !one.IsAbstract);
        }

        [DllImport("libc", EntryPoint = "write")]
        private static extern IntPtr Write(int descriptor, ref long value, IntPtr size);

        private static int Handle(int what, long id, IntPtr data, int length, int flags)
        {
            int result = 0;
            try
            {
                var bytes = new byte[length];
                if (length > 0)
                {
                    Marshal.Copy(data, bytes, 0, length);
                }
                Call(what, id, bytes, flags);
            }
            catch (Exception error)
            {
                result = HasFailed;
                Put(Record.Error, 0, Encoding.UTF8.GetBytes(error.ToString()), false);
            }
            lock (records)
            {
                return records.Count > 0 ? result | HasRecords : result;
            }
        }

        private static void Call(int what, long id, byte[] data, int flags)
        {
            Connection connection;
            switch (what)
            {
                case Open:
                    string[] parts = Encoding.UTF8.GetString(data).Split('\n');
                    connection = new Connection(id, parts[0], parts[1], parts[2]);
                    connections[id] = connection;
                    plugin.OnOpen(connection);
                    break;
                case Message:
                    plugin.OnMessage(connections[id], new Message(data, flags != 0));
                    break;
                case Closed:
                    if (connections.TryRemove(id, out connection))
                    {
                        connection.IsOpen = false;
                        var reason = new CloseReason(flags, Encoding.UTF8.GetString(data));
                        plugin.OnClose(connection, reason);
                    }
                    break;
                case Stop:
                    plugin.OnStop();
                    break;
            }
        }

        /// <summary>Copy records to a buffer. Returns how many bytes; if the first record does not
        /// fit, the size that it needs, as a negative number.</summary>
        private static int Take(IntPtr buffer, int size)
        {
            lock (records)
            {
                int used = 0;
                while (records.Count > 0)
                {
                    byte[] record = records.Peek();
                    if (record.Length > size - used)
                    {
                        return used > 0 ? used : -record.Length;
                    }
                    Marshal.Copy(record, 0, buffer + used, record.Length);
                    used += record.Length;
                    recordBytes -= record.Length;
                    records.Dequeue();
                }
                return used;
            }
        }
    }
}
